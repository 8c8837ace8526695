"""The labeller's tools.

python -m benchmarks.labelled_pages select --data DATA            which pages, in parts (selection.jsonl)
python -m benchmarks.labelled_pages show --data DATA --part a     pages of a part with numbered segments
python -m benchmarks.labelled_pages adopt DRAFT.jsonl --data DATA --part a    drafts become decisions, checked
python -m benchmarks.labelled_pages check --data DATA             do all decisions still fit the pages?
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.labelled_pages.decisions import FOLDER, DecisionError, parse, read_decisions
from benchmarks.labelled_pages.pages import manifest, read_pages
from benchmarks.labelled_pages.segments import Segment, cut, digest

SELECTION = Path(__file__).with_name("selection.jsonl")
WIDTH = 70  # characters shown of a segment
SHORT = 22
LEAST, MOST = 5, 300  # segments of a page
PER_HOST = 2
WANTED = {
    "hplt_sample": 80, "forum_harvest": 14, "autopager": 22, "formasaurus": 26, "webstruct": 12, "any23": 6, "cosr": 8,
    "extruct": 10, "wikitablequestions": 5, "gne_zh": 6, "htmldate": 5, "trafilatura": 6,
}  # fmt: skip
PARTS = "abcde"


def select(data: Path) -> None:
    """Write ``selection.jsonl``: pages by set, in the order of a hash; no near duplicates, no gold articles."""
    entries = sorted(manifest(data), key=lambda entry: hashlib.sha1(entry["id"].encode()).hexdigest())
    hosts: Counter[str] = Counter()
    chosen: list[str] = []
    taken: Counter[str] = Counter()
    for entry in entries:
        folder = entry["id"].partition("/")[0]
        duplicate = entry.get("dup_of") or entry.get("near_dup_of") or entry.get("cleaned_from")
        if taken[folder] >= WANTED.get(folder, 0) or duplicate or (entry.get("gold") and folder != "forum_harvest"):
            continue
        host = entry["url"].split("/")[2] if entry.get("url_known") else entry["id"]
        if hosts[host] >= (5 if folder == "wikitablequestions" else PER_HOST):
            continue
        page = read_pages(data, [entry["id"]])[entry["id"]]
        if LEAST <= len(cut(page.text)) <= MOST:
            chosen.append(entry["id"])
            hosts[host] += 1
            taken[folder] += 1
    rows = [{"id": identity, "part": PARTS[at % len(PARTS)]} for at, identity in enumerate(sorted(chosen))]
    SELECTION.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"{len(rows)} pages: {dict(taken)}")


def show(data: Path, part: str) -> None:
    """Print the pages of a part for reading."""
    ids = [row["id"] for row in map(json.loads, SELECTION.read_text().splitlines()) if row["part"] == part]
    for identity, page in read_pages(data, ids).items():
        segments = cut(page.text)
        print(f"\n##### {identity}   {page.url}   {len(segments)} segments")
        print("\n".join(_lines(segments)))


def _lines(segments: list[Segment]) -> Iterator[str]:
    """One line per segment; menus, that is runs of links or of a few words each, share one line."""
    for menu, run in itertools.groupby(enumerate(segments), lambda pair: _is_menu(pair[1])):
        found = list(run)
        if menu and len(found) > 3:
            texts = " | ".join(segment.text[:20] for _, segment in (*found[:3], found[-1]))
            yield f"{found[0][0]}-{found[-1][0]} ({len(found)} short) {texts}"
        else:
            for number, segment in found:
                cut_off = f"… +{len(segment.text) - WIDTH}" if len(segment.text) > WIDTH else ""
                place = f"{segment.tag}.{segment.name[:10]}{' L' if segment.links > 0.5 else ''}"
                yield f"{number} {place} {segment.text[:WIDTH]}{cut_off}"


def _is_menu(segment: Segment) -> bool:
    return segment.links > 0.8 or len(segment.text) < SHORT


def adopt(data: Path, part: str, draft: Path) -> None:
    """Turn a labeller's lines (id, type, lang, main, optional, note) into decisions. Raises ``DecisionError``."""
    rows = [json.loads(line) for line in draft.read_text("utf-8").splitlines() if line.strip()]
    pages = read_pages(data, [row["id"] for row in rows])
    done: list[dict[str, Any]] = []
    selected = {row["id"] for row in map(json.loads, SELECTION.read_text().splitlines()) if row["part"] == part}
    if strangers := [row["id"] for row in rows if row["id"] not in selected]:
        raise DecisionError(f"not in part {part}: {', '.join(strangers)}")
    for row in rows:
        segments = cut(pages[row["id"]].text)
        pinned = {"sha1": pages[row["id"]].sha1, "segments": len(segments), "segments_sha1": digest(segments)}
        whole = {
            "id": row["id"],
            **pinned,
            **{key: row.get(key, "") for key in ("type", "lang", "main", "optional", "note")},
        }
        try:
            parse(whole)
        except DecisionError as error:
            raise DecisionError(f"{row['id']}: {error}") from None
        done.append(whole)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{part}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in done), "utf-8")
    print(f"{len(done)} decisions")


def check(data: Path) -> None:
    """Print what there is; exit 1 where a decision does not fit its page."""
    decisions = read_decisions()
    known = {entry["id"] for entry in manifest(data)}
    times = Counter(decision.id for decision in decisions)
    wrong = [f"{identity}: decided {count} times" for identity, count in times.items() if count > 1]
    wrong += [f"{identity}: the crawl has no such page" for identity in times if identity not in known]
    decisions = [decision for decision in decisions if decision.id in known]
    pages = read_pages(data, [decision.id for decision in decisions])
    for decision in decisions:
        segments = cut(pages[decision.id].text)
        if pages[decision.id].sha1 != decision.sha1:
            wrong.append(f"{decision.id}: the page has changed")
        elif digest(segments) != decision.segments_sha1:
            wrong.append(f"{decision.id}: this version of lxml cuts the page differently")
    for title, counts in (
        ("type", Counter(decision.type for decision in decisions)),
        ("language", Counter(decision.lang for decision in decisions)),
    ):
        print(title, ", ".join(f"{name} {count}" for name, count in counts.most_common()))
    print(f"{len(decisions)} decisions, {len(wrong)} that do not fit", *wrong, sep="\n")
    if wrong:
        sys.exit(1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("select", "show", "adopt", "check"))
    parser.add_argument("draft", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS, default="a")
    args = parser.parse_args()
    if args.do == "select":
        select(args.data)
    elif args.do == "show":
        show(args.data, args.part)
    elif args.do == "adopt":
        adopt(args.data, args.part, args.draft)
    else:
        check(args.data)


if __name__ == "__main__":
    main()
