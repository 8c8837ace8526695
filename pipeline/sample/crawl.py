"""Puts the captures into WARC files, damages a few records, and writes down the truth."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from .articles import article
from .banks import seeded
from .charsets import encode
from .plan import Capture, plan_captures
from .transport import answer
from .truth import VERSION, SampleTruth, tally
from .warc import Compression, Damage, Place, WarcFile

CRAWLS = ("CC-MAIN-2023-50", "CC-MAIN-2024-10")
_SEGMENTS = ("1700679099281.67", "1707947473347.0")
_MONTHS = ("2023-12", "2024-03")
_SUFFIX: dict[Compression, str] = {"gzip": ".warc.gz", "zstd": ".warc.zst", "none": ".warc"}
_WEIGHT: dict[Compression, int] = {"gzip": 5, "zstd": 3, "none": 1}


class FilePlan(NamedTuple):
    """One file to be written."""

    path: str
    crawl: int
    compression: Compression


def plan_files(files: int) -> list[FilePlan]:
    """The older crawl gets the first half; the second file of a crawl is plain, or zstd in the newer one."""
    older = files // 2
    plans: list[FilePlan] = []
    for number in range(files):
        crawl = int(number >= older)
        second = number - older * crawl == 1
        compression: Compression = ("zstd" if crawl else "none") if second else "gzip"
        folder = f"{CRAWLS[crawl]}/segments/{_SEGMENTS[crawl]}/warc"
        plans.append(FilePlan(f"{folder}/sample-{number:05d}{_SUFFIX[compression]}", crawl, compression))
    return plans


def generate(out: Path, *, pages: int = 3000, seed: int = 7, files: int = 4) -> SampleTruth:
    """Write a sample crawl below ``out`` and return what it holds.

    Args:
        out: Folder to write to; made if missing. Files of an earlier sample of the same size are replaced.
        pages: Captured pages, at least 300.
        seed: Same seed, same version, same bytes.
        files: WARC files over two crawls (a single one is all newer crawl); of four, one is plain and one is zstd.

    Raises:
        RunError: too few pages, or no file.

    Costs about 1.1 ms per page on one core and 4 kB on disk.
    """
    plans = plan_files(max(1, files))
    shelves = _shelve(plan_captures(pages=pages, seed=seed), plans, seed)
    lines: list[dict[str, object]] = []
    written: Counter[str] = Counter()
    damaged = 0
    for plan, captures in zip(plans, shelves, strict=True):
        path = out / plan.path
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as sink:
            warc = WarcFile(sink, f"{seed}/{plan.path}", plan.compression)
            lines += _fill(warc, plan, captures, seeded(seed, plan.path), _faults(plan, plans))
        partial.replace(path)
        written += warc.written
        damaged += warc.damaged
    lines.sort(key=lambda line: str(line["id"]))
    with (out / "truth.jsonl").open("w", encoding="utf-8", newline="\n") as sink_text:
        sink_text.writelines(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines)
    truth = tally(out, seed=seed, files=[plan.path for plan in plans], lines=lines, written=written, damaged=damaged)
    truth.save()
    return truth


def _shelve(captures: list[Capture], plans: list[FilePlan], seed: int) -> list[list[Capture]]:
    """Spread the captures over the files of their crawl, in random order."""
    rng = seeded(seed, "shelves")
    shelves: list[list[Capture]] = [[] for _ in plans]
    rng.shuffle(captures)
    for capture in captures:
        fitting = [at for at, plan in enumerate(plans) if plan.crawl == capture.crawl] or list(range(len(plans)))
        weights = [_WEIGHT[plans[at].compression] for at in fitting]
        shelves[rng.choices(fitting, weights)[0]].append(capture)
    return shelves


def _faults(plan: FilePlan, plans: list[FilePlan]) -> list[Damage | None]:
    """Damage by file: None stands for bytes between records. A cut record comes last."""
    zipped = [other for other in plans if other.compression == "gzip"]
    faults: list[Damage | None] = [None] if plan.compression == "none" else []
    if plan == zipped[0]:
        faults += [None, "length_long", "bit_flip"]
    if plan == zipped[-1]:
        faults += ["length_short", "cut"]
    return faults


def _fill(
    warc: WarcFile, plan: FilePlan, captures: list[Capture], rng: random.Random, faults: list[Damage | None]
) -> list[dict[str, object]]:
    about = f"software: pipeline-sample/{VERSION}\r\nformat: WARC File Format 1.0\r\nisPartOf: {CRAWLS[plan.crawl]}\r\n"
    date = f"{_MONTHS[plan.crawl]}-01T00:00:00Z"
    warc.record("warcinfo", about.encode(), date=date, content_type="application/warc-fields")
    last = faults.pop() if faults and faults[-1] == "cut" else None
    places = dict(zip(rng.sample(range(1, len(captures)), len(faults)), faults, strict=True))
    lines: list[dict[str, object]] = []
    for at, capture in enumerate(captures):
        if at in places:
            lines.append(_spoil(warc, plan, rng, places[at]))
        lines.append(_write(warc, plan, capture, rng))
    if last:
        lines.append(_spoil(warc, plan, rng, last))
    return lines


def _write(warc: WarcFile, plan: FilePlan, capture: Capture, rng: random.Random) -> dict[str, object]:
    """Write a capture, often with the records that crawlers put beside it."""
    clock = f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}"
    date = f"{_MONTHS[plan.crawl]}-{rng.randrange(1, 15):02d}T{clock}Z"
    url, sent = capture.page.url, capture.sent
    if rng.random() < 0.25:
        parts = urlsplit(url)
        query = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        head = f"GET {query} HTTP/1.1\r\nUser-Agent: pipeline-sample\r\nHost: {parts.netloc}\r\n\r\n"
        warc.record("request", head.encode(), date=date, url=url, content_type="application/http; msgtype=request")
    more = tuple(
        line
        for line, wanted in (
            (f"WARC-Truncated: {sent.truncated}", sent.truncated),
            (
                "WARC-Profile: http://netpreserve.org/warc/1.0/revisit/identical-payload-digest",
                sent.record_type == "revisit",
            ),
        )
        if wanted
    )
    payload = sent.block.partition(b"\r\n\r\n")[2] if sent.http else sent.block
    kind = "application/http; msgtype=response"
    place = warc.record(sent.record_type, sent.block, date=date, url=url, content_type=kind, payload=payload, more=more)
    if rng.random() < 0.25:
        note = f"fetchTimeMs: {rng.randrange(20, 3000)}\r\n".encode()
        warc.record("metadata", note, date=date, url=url, content_type="application/warc-fields")
    return _truth_line(plan, capture, place, date)


def _truth_line(plan: FilePlan, capture: Capture, place: Place, date: str) -> dict[str, object]:
    page = capture.page
    line: dict[str, object] = {
        "id": capture.id,
        "url": page.url,
        "kind": page.kind,
        "language": page.language,
        "charset": capture.encoded.charset,
        "charset_label": capture.encoded.label,
        "title": page.title,
        "words": len(page.text.split()),
        "text_sha256": hashlib.sha256(page.text.encode()).hexdigest(),
        "crawl": CRAWLS[plan.crawl],
        "date": date,
        "warc": plan.path,
        "offset": place.offset,
        "length": place.length,
        **page.planted,
    }
    for key, value in capture.truth.items():
        line[key] = value.id if isinstance(value, Capture) else value
    return line


def _spoil(warc: WarcFile, plan: FilePlan, rng: random.Random, damage: Damage | None) -> dict[str, object]:
    """Write one damaged region: a record made for it, or bytes that mean nothing."""
    date = f"{_MONTHS[plan.crawl]}-15T00:00:00Z"
    if damage is None:
        noise = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz \n") for _ in range(rng.randrange(300, 900)))
        place, name, url = warc.garbage(noise.encode() + b"\r\n\r\n"), "garbage", None
    else:
        page = article(rng, "news")
        block = answer(rng, encode(rng, page)).block
        kind = "application/http; msgtype=response"
        place = warc.record("response", block, date=date, url=page.url, content_type=kind, damage=damage)
        name, url = damage, page.url
    where = {"warc": plan.path, "offset": place.offset, "length": place.length}
    return {"id": f"damage-{Path(plan.path).name}-{place.offset}", "damage": name, "url": url, **where}
