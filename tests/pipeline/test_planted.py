"""Planted pages: each bad one is removed by the rule that is meant for it, and its clean neighbour stays."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pipeline.sample.prose import english_voice, paragraphs, sentences
from pipeline.sample.warc import WarcFile
from quality_models import installed

BOUNDS = {info.name: info.card.threshold for info in installed()}
MANIFEST = f"""
name: planted
source: {{paths: [crawl.warc.gz]}}
output: {{path: out}}
executor: {{kind: local, workers: 1}}
stages:
  - kind: extract
  - {{kind: language, keep: [en]}}
  - kind: normalise
  - {{kind: score, model: toxicity, max: {BOUNDS["toxicity"]}}}
  - {{kind: score, model: adult, max: {BOUNDS["adult"]}}}
  - kind: mask_pii
  - {{kind: score, model: fluency, min: {BOUNDS["fluency"]}}}
  - {{kind: score, model: not_ad, min: {BOUNDS["not_ad"]}}}
"""
ABUSE = [
    "You stupid moron, only a worthless idiot could write such garbage and believe it.",
    "Shut your mouth, you pathetic piece of trash, nobody wants scum like you in this town.",
    "These people are filthy animals, and every one of you retarded losers knows it.",
]
ADULT = [
    "Watch free porn videos with hot milf sex and amateur anal in HD on the best xxx tube.",
    "New hentai galleries and big tits pics every day, with live sex cams and porn chat.",
]
SELLING = [
    "Buy now and save 40% on all running shoes, with free shipping on orders over $50.",
    "Use coupon code SUMMER10 at checkout, limited time offer, while stocks last.",
    "Our best price guaranteed, order today and get our premium leather handbag for only $49.99.",
    "Add to cart, in stock, ships within 24 hours, 30 day money back guarantee.",
    "Shop our full range of watches and sunglasses at unbeatable prices.",
    "Sign up for our newsletter and get exclusive offers and deals.",
]


def clean(seed: int) -> list[str]:
    return paragraphs(english_voice(random.Random(seed), "history"), "news", 350)


def garbled(seed: int) -> list[str]:
    rng = random.Random(seed)
    lines = []
    for line in sentences(english_voice(rng, "nature"), "news", 25):
        words = line.rstrip(".").split()
        rng.shuffle(words)
        lines.append(" ".join(words) + ".")
    return [" ".join(lines[at : at + 5]) for at in range(0, 25, 5)]


PAGES = {
    "toxic": [*clean(1)[:2], *ABUSE * 3],
    "adult": [*clean(2)[:2], *ADULT * 4],
    "advertising": [*SELLING, *SELLING[::-1]],
    "garbled": garbled(3),
    "clean-next-to-toxic": clean(1),
    "clean-next-to-adult": clean(2),
    "clean-next-to-advertising": clean(4),
    "clean-next-to-garbled": paragraphs(english_voice(random.Random(3), "nature"), "news", 350),
}
RULES = {
    "toxic": "score/toxic_score@1",
    "adult": "score/porn_score@1",
    "advertising": "score/not_ad_score@1",
    "garbled": "score/fluency_score@1",
}


@pytest.fixture(scope="module")
def run(cli, tmp_path_factory):
    """A run over the planted pages; returns what ``explain`` says of a page."""
    folder: Path = tmp_path_factory.mktemp("planted")
    with (folder / "crawl.warc.gz").open("wb") as file:
        warc = WarcFile(file, "crawl", "gzip")
        for name, lines in PAGES.items():
            body = "".join(f"<p>{line}</p>" for line in lines)
            html = (
                f"<html><head><title>{name}</title></head><body><article><h1>A page</h1>{body}</article></body></html>"
            )
            block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}".encode()
            kind = "application/http; msgtype=response"
            url = f"https://{name}.example.org/"
            warc.record("response", block, date="2024-01-31T00:00:00Z", content_type=kind, url=url)
    text = MANIFEST.replace("crawl.warc.gz", str(folder / "crawl.warc.gz")).replace("path: out", f"path: {folder}/out")
    (folder / "planted.yaml").write_text(text)
    done = cli("run", str(folder / "planted.yaml"), "--json")
    assert done.code == 0, done.stderr

    def explain(name: str) -> dict[str, object]:
        said = cli("explain", str(folder / "out"), f"https://{name}.example.org/", "--json")
        found: dict[str, object] = json.loads(said.stdout)["documents"][0]
        return found

    return explain


@pytest.mark.parametrize("name", RULES)
def test_a_planted_page_is_removed_by_its_rule_and_its_neighbour_stays(run, name: str) -> None:
    assert run(name)["reason"] == RULES[name]
    assert run(f"clean-next-to-{name}")["reason"] is None
