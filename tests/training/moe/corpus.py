"""A small corpus in which the next word follows from the two before: something for a feed-forward to know."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.training.data.made import SYLLABLES, run_pipeline, write_manifest, write_text

WORDS, CLASSES = 64, 8
VOCAB = 360


def sentences(seed: int, count: int, length: int = 40) -> list[str]:
    """``count`` documents; the grammar is the same for every ``seed``."""
    grammar, random = np.random.default_rng(99), np.random.default_rng(seed)
    lexicon = ["".join(grammar.choice(SYLLABLES, 2)) for _ in range(WORDS)]
    follow = grammar.integers(WORDS, size=(WORDS, CLASSES, 3))
    found = []
    for _ in range(count):
        before, last = random.integers(WORDS, size=2)
        words = []
        for choice in random.choice(3, length, p=[0.7, 0.2, 0.1]):
            before, last = last, follow[last, before % CLASSES, choice]
            words.append(lexicon[last])
        found.append(" ".join(words))
    return found


def grammar_tokens(folder: Path) -> Path:
    """A token corpus of one domain with held-out rows, by a real run; returns its folder."""
    write_text(folder / "grammar.parquet", sentences(1, 1500))
    tokenize = {
        "sequence_length": 32,
        "held_out": 0.1,
        "tokenizer": {"train": {"vocab": VOCAB, "sample_bytes": "100KiB"}},
        "domains": {"grammar": {"paths": [str(folder / "grammar.parquet")]}},
    }
    done = run_pipeline("run", str(write_manifest(folder / "tokenize.yaml", folder / "out", tokenize)))
    assert done.returncode == 0, done.stderr
    return folder / "out"
