"""Language identification: accuracy by language and by length on short texts in 75 languages, and documents/s.

    PYTHONPATH=. python benchmarks/language_quality.py --data DATA [--sentences 15000] [--json]

Sentences are a seeded sample of ``language/lingua_sentences``; the words of the evidence tables were chosen while
looking at confusions on another sample (seed 11, the first 15,000) and once at those of this one. Norwegian: the
engines say ``no`` for Bokmål, and cld2 now and then for both written forms: ``nb`` counts as right with ``no`` or
``nb``, ``nn`` with ``nn`` or ``no``; ``zh-Hant`` counts as ``zh``. ``strict`` is the accuracy with ``nb`` = ``no``
alone. Lengths are those of words, pairs of words and sentences. Speed: CPU time of one core, one by one.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from quality_models.examples.pieces import read_jsonl
from stages.language import Identifier, open_identifier

ENGINES = ("combined", "cld2", "fasttext")
FILES = {"word": "lingua_words", "two words": "lingua_word_pairs", "sentence": "lingua_sentences"}
SAME = {"nb": ("no", "nb"), "nn": ("nn", "no"), "zh": ("zh", "zh-Hant")}
STRICT = {"nb": ("no", "nb")}
LENGTHS = (20, 40, 80, 160, 10_000)  # characters
Row = dict[str, Any]


def is_right(found: str, wanted: str, same: dict[str, tuple[str, ...]] = SAME) -> bool:
    """See above."""
    return found in same.get(wanted, (wanted,))


def sample(data: Path, name: str, count: int) -> list[Row]:
    """``count`` rows of a file, always the same ones."""
    rows = list(read_jsonl(data / "language" / f"{name}.jsonl.zst"))
    random.Random(2024).shuffle(rows)
    return rows[:count]


def accuracy(identify: Identifier, rows: list[Row]) -> dict[str, Any]:
    """Overall, strict, by language and by length in characters."""
    found = [identify(row["text"]).language for row in rows]
    by_language: dict[str, list[bool]] = defaultdict(list)
    by_length: dict[str, list[bool]] = defaultdict(list)
    for answer, row in zip(found, rows, strict=True):
        right = is_right(answer, row["lang"])
        by_language[row["lang"]].append(right)
        by_length[str(next(length for length in LENGTHS if len(row["text"]) <= length))].append(right)
    return {
        "accuracy": mean([is_right(answer, row["lang"]) for answer, row in zip(found, rows, strict=True)]),
        "strict": mean([is_right(answer, row["lang"], STRICT) for answer, row in zip(found, rows, strict=True)]),
        "by_language": {name: mean(rights) for name, rights in sorted(by_language.items())},
        "by_length": {length: mean(by_length[length]) for length in map(str, LENGTHS) if length in by_length},
    }


def mean(rights: list[bool]) -> float:
    return sum(rights) / max(1, len(rights))


def per_second(identify: Identifier, texts: list[str]) -> float:
    """Texts per CPU second."""
    began = time.process_time()
    for text in texts:
        identify(text)
    return len(texts) / (time.process_time() - began)


def figures(data: Path, count: int) -> dict[str, Any]:
    """All engines on all files."""
    sets = {kind: sample(data, name, count if kind == "sentence" else 5000) for kind, name in FILES.items()}
    sentences = [row["text"] for row in sets["sentence"]]
    long = [" ".join(sentences[at : at + 15]) for at in range(0, min(len(sentences), 15_000), 15)]
    result: dict[str, Any] = {}
    for engine in ENGINES:
        identify = open_identifier(engine)  # type: ignore[arg-type]
        result[engine] = {kind: accuracy(identify, rows) for kind, rows in sets.items()}
        result[engine]["sentences_per_s"] = per_second(identify, sentences[:3000])
        result[engine]["texts_per_s"] = per_second(identify, long)
    return result


def table(found: dict[str, Any]) -> str:
    """Markdown: the overview, lengths, and languages below nine tenths."""
    lines = [
        "| engine | sentence (strict) | two words | word | sentences/s | texts of 15 sentences/s |",
        "|" + "---|" * 6,
    ]
    for engine in ENGINES:
        each = found[engine]
        lines.append(
            f"| {engine} | {each['sentence']['accuracy']:.3f} ({each['sentence']['strict']:.3f}) | "
            f"{each['two words']['accuracy']:.3f} | {each['word']['accuracy']:.3f} | {each['sentences_per_s']:,.0f} | "
            f"{each['texts_per_s']:,.0f} |"
        )
    lines += ["", "| sentences of up to | " + " | ".join(ENGINES) + " |", "|" + "---|" * 4]
    for length in found["combined"]["sentence"]["by_length"]:
        values = " | ".join(f"{found[engine]['sentence']['by_length'][length]:.3f}" for engine in ENGINES)
        lines.append(f"| {length} characters | {values} |")
    lines += ["", "| language | " + " | ".join(ENGINES) + " |", "|" + "---|" * 4]
    for name, value in found["combined"]["sentence"]["by_language"].items():
        values = " | ".join(f"{found[engine]['sentence']['by_language'][name]:.3f}" for engine in ENGINES)
        if value < 0.9:
            lines.append(f"| {name} | {values} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=15_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = figures(arguments.data, arguments.sentences)
    print(json.dumps(found, indent=1) if arguments.json else table(found))


if __name__ == "__main__":
    main()
