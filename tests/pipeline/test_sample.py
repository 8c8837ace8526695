"""The sample crawl is the same everywhere, and it holds what it says it holds."""

from __future__ import annotations

import gzip
import hashlib
import ipaddress
import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import pycld2
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text

from corpus.errors import RunError
from pipeline.sample import CRAWLS, SampleTruth, generate
from pipeline.sample.plan import MINIMUM, Capture, plan_captures
from pipeline.sample.prose import LANGUAGES
from pipeline.sample.transport import PROBLEMS
from pipeline.sample.variants import LEVELS, edit_to, jaccard, shingles
from stages.read import SourceConfig, plan_units, read_unit

PAGES = 500
WRITTEN = ("news", "blog", "guide", "encyclopedia")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleTruth:
    return generate(tmp_path_factory.mktemp("sample"), pages=PAGES)


@pytest.fixture(scope="module")
def captures() -> list[Capture]:
    return plan_captures(pages=PAGES, seed=7)


@pytest.fixture(scope="module")
def lines(sample: SampleTruth) -> list[dict]:
    return [json.loads(line) for line in (sample.root / "truth.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def rows(sample: SampleTruth) -> list[dict]:
    source = SourceConfig(paths=tuple(str(sample.root / name) for name in sample.files))
    columns = ["warc_path", "warc_offset", "reason", "outcome"]
    return [
        row
        for unit in plan_units(source)
        for batch in read_unit(unit, source)
        for row in batch.select(columns).to_pylist()
    ]


def fingerprint(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def decoded(capture: Capture) -> str:
    return capture.encoded.body.decode(capture.encoded.charset).lstrip("\ufeff")


def originals(captures: list[Capture], kinds: tuple[str, ...]) -> list[Capture]:
    return [c for c in captures if c.page.kind in kinds and not c.truth]


def test_the_same_seed_gives_the_same_bytes_in_another_process_with_another_hash_seed(
    sample: SampleTruth, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pipeline.sample", str(tmp_path), "--pages", str(PAGES)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "12345"})
    assert fingerprint(tmp_path) == fingerprint(sample.root)


def test_another_seed_gives_other_pages() -> None:
    first, second = (plan_captures(pages=MINIMUM, seed=seed) for seed in (1, 2))
    assert not {c.page.text for c in originals(first, WRITTEN)} & {c.page.text for c in originals(second, WRITTEN)}


def test_too_few_pages_are_refused_with_the_least_number_that_works(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=str(MINIMUM)):
        generate(tmp_path, pages=MINIMUM - 1)
    assert generate(tmp_path, pages=MINIMUM).pages == MINIMUM


def test_any_number_of_files_will_do(tmp_path: Path) -> None:
    for files in (1, 2, 5):
        truth = generate(tmp_path / str(files), pages=MINIMUM, files=files)
        assert len(truth.files) == files
        assert truth.pages == MINIMUM


def test_the_ledger_of_the_reader_counts_sound_records_and_damaged_regions(
    sample: SampleTruth, rows: list[dict]
) -> None:
    assert len(rows) == sample.read == sample.records + sample.damaged
    framing = [row for row in rows if row["reason"] in ("quarantine/broken_framing", "quarantine/truncated_file")]
    assert len(framing) == sample.damaged == 6


def test_every_planted_problem_is_found_at_its_offset(lines: list[dict], rows: list[dict]) -> None:
    found = {(Path(row["warc_path"]).name, row["warc_offset"]): row["reason"] for row in rows}
    for line in lines:
        if "problem" in line and not line["warc"].endswith(".zst"):
            reason = found[Path(line["warc"]).name, line["offset"]]
            problem = line["problem"]
            if problem.startswith("status_"):
                assert reason == "record/http_status@1"
            elif problem in ("type_png", "type_pdf", "type_json"):
                assert reason == "record/not_html@1"
            elif problem == "revisit":
                assert reason == "record/not_response@1"
            elif problem == "gzip_bomb":
                assert reason == "quarantine/payload_bomb"
            elif problem == "no_body":
                assert reason == "record/empty@1"


def test_totals_agree_with_the_lines(sample: SampleTruth, lines: list[dict]) -> None:
    pages = [line for line in lines if "damage" not in line]
    assert len(pages) == sample.pages == PAGES
    assert len({line["id"] for line in lines}) == len(lines)
    assert sum("duplicate_of" in line for line in pages) == sample.exact_duplicates + sample.syndicated
    assert sum("near_duplicate_of" in line for line in pages) == sum(sample.near_duplicates.values())
    assert Counter(line["kind"] for line in pages) == sample.kinds
    assert set(sample.problems) == set(PROBLEMS)
    assert set(sample.languages) == {*LANGUAGES, "en", ""}
    assert json.loads((sample.root / "summary.json").read_text())["read"] == sample.read
    assert not list(sample.root.rglob("*.partial"))


def test_a_gzip_member_at_its_offset_is_the_record_of_its_page(sample: SampleTruth, lines: list[dict]) -> None:
    for line in lines:
        if line["warc"].endswith(".gz") and "damage" not in line:
            with (sample.root / line["warc"]).open("rb") as file:
                file.seek(line["offset"])
                record = gzip.decompress(file.read(line["length"]))
            assert f"WARC-Target-URI: {line['url']}\r\n".encode() in record[:2000]


def test_an_undamaged_file_reads_to_its_end_in_fastwarc_with_right_digests(
    sample: SampleTruth, lines: list[dict]
) -> None:
    name = next(name for name in sample.files if name.endswith(".zst"))
    records = list(ArchiveIterator(str(sample.root / name), parse_http=False, verify_digests=True))
    assert records[0].record_type == WarcRecordType.warcinfo
    responses = [r for r in records if r.record_type in (WarcRecordType.response, WarcRecordType.revisit)]
    assert len(responses) == sum(line["warc"] == name for line in lines)


def test_both_crawls_are_there_and_the_newer_holds_the_recrawled_pages(lines: list[dict]) -> None:
    by_id = {line["id"]: line for line in lines}
    recrawled = [line for line in lines if line.get("relation") == "recrawl"]
    assert recrawled
    for line in recrawled:
        first = by_id[line["duplicate_of"]]
        assert (first["crawl"], line["crawl"]) == CRAWLS
        assert first["url"] == line["url"]
        assert first["date"] < line["date"]


def test_all_hosts_are_reserved_names(lines: list[dict]) -> None:
    assert all(urlsplit(line["url"]).hostname.endswith(".example") for line in lines if line["url"])


def test_pages_decode_in_their_charset_and_some_lie_about_it(captures: list[Capture]) -> None:
    for capture in captures:
        decoded(capture)
    assert {c.encoded.label for c in captures} == {"both", "meta", "header", "none", "wrong", "bom"}
    assert {"utf-8", "windows-1252", "iso-8859-2", "koi8-r", "big5", "shift_jis", "utf-16"} <= {
        c.encoded.charset for c in captures
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_in_other_languages_are_identified(captures: list[Capture], language: str) -> None:
    pages = [c for c in captures if c.page.language == language]
    assert pages
    for capture in pages:
        text = extract_plain_text(decoded(capture), main_content=True)
        assert pycld2.detect(text)[2][0][1] == language


def test_articles_are_found_in_their_pages(captures: list[Capture]) -> None:
    for capture in originals(captures, (*WRITTEN, "recipe", "contact")):
        words = Counter(re.findall(r"\w+", capture.page.text.lower()))
        seen = Counter(re.findall(r"\w+", extract_plain_text(decoded(capture), main_content=True).lower()))
        assert (words & seen).total() > 0.95 * words.total(), capture.page.url


def test_broken_markup_hides_no_text_from_a_lenient_parser(captures: list[Capture]) -> None:
    for capture in originals(captures, ("deep_nesting", "huge_colspan", "unclosed_tags", "open_quotes", "very_long")):
        seen = extract_plain_text(decoded(capture), main_content=False)
        sentence = capture.page.text.split(". ")[1]
        assert sentence in " ".join(seen.split()), capture.page.kind


def test_articles_have_the_shape_of_prose(captures: list[Capture]) -> None:
    stop = {"the", "be", "to", "of", "and", "that", "have", "with"}
    for capture in originals(captures, WRITTEN):
        words = capture.page.text.split()
        assert len(words) >= 50
        assert 3 <= sum(map(len, words)) / len(words) <= 10
        assert len(stop & set(capture.page.text.lower().split())) >= 2
        assert all(line[-1] in ".!?" for line in capture.page.text.split("\n"))
        assert repeated(words, 5) < 0.15
        assert repeated(words, 10) < 0.10


def repeated(words: list[str], size: int) -> float:
    grams = Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))
    return sum(count - 1 for count in grams.values()) * size / len(words)


def test_independent_articles_share_few_shingles(captures: list[Capture]) -> None:
    sets = [shingles(c.page.text) for c in originals(captures, WRITTEN)]
    holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for at, grams in enumerate(sets):
        for gram in grams:
            holders[gram].append(at)
    shared = Counter(pair for held in holders.values() for pair in itertools.combinations(held, 2))
    worst = max(count / (len(sets[a]) + len(sets[b]) - count) for (a, b), count in shared.items())
    assert len(sets) > 100
    assert worst < 0.2


def test_near_duplicates_have_the_similarity_that_is_written_down(captures: list[Capture]) -> None:
    near = [c for c in captures if "near_duplicate_of" in c.truth]
    assert {c.truth["target"] for c in near} == set(LEVELS)
    for capture in near:
        original = capture.truth["near_duplicate_of"]
        true = jaccard(shingles(capture.page.text), shingles(original.page.text))
        assert capture.truth["jaccard"] == pytest.approx(true, abs=1e-4)
        assert capture.truth["target"] - 0.05 < true <= capture.truth["target"]
        assert urlsplit(capture.page.url) != urlsplit(original.page.url)


def test_exact_copies_have_the_same_bytes_and_syndicated_ones_the_same_text(captures: list[Capture]) -> None:
    copies = [c for c in captures if "duplicate_of" in c.truth]
    for capture in copies:
        original = capture.truth["duplicate_of"]
        assert capture.page.text == original.page.text
        assert (capture.encoded.body == original.encoded.body) == (capture.truth["relation"] != "syndicated")
    assert Counter(c.truth["relation"] for c in copies).keys() == {"recrawl", "mirror", "syndicated"}


def test_a_text_is_never_edited_above_its_target() -> None:
    from pipeline.sample.banks import seeded
    from pipeline.sample.prose import english_voice, paragraphs

    for target in (0.99, 0.7, 0.1):
        lines = paragraphs(english_voice(seeded("a", target), "law"), "news", 400)
        edited, reached = edit_to(english_voice(seeded("b", target), "law"), lines, target)
        assert reached <= target
        assert reached == jaccard(shingles("\n".join(lines)), shingles("\n".join(edited)))


def luhn(number: str) -> bool:
    digits = [int(digit) for digit in number if digit.isdigit()][::-1]
    return sum(digits[0::2] + [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]) % 10 == 0


def iban(number: str) -> bool:
    compact = number.replace(" ", "")
    return int("".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])) % 97 == 1


def test_planted_personal_data_is_well_formed_reserved_and_in_the_text(captures: list[Capture]) -> None:
    documentation = [ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
    documentation.append(ipaddress.ip_network("2001:db8::/32"))
    checks = {
        "email": lambda value: value.split("@")[1].split(".", value.count("mail."))[-1].startswith("example."),
        "phone": lambda value: re.search(r"555-01\d\d$|^020 7946 0\d\d\d$", value),
        "ip_address": lambda value: any(ipaddress.ip_address(value) in net for net in documentation),
        "payment_card": luhn,
        "iban": iban,
        "us_ssn": lambda value: value in ("078-05-1120", "219-09-9999"),
    }
    found = Counter()
    for capture in captures:
        for planted in capture.page.planted.get("pii", []):
            assert planted["value"] in capture.page.text
            assert checks[planted["kind"]](planted["value"]), planted
            found[planted["kind"]] += 1
    assert found.keys() == checks.keys()
