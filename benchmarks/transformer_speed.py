"""The second tier: windows/s of MiniLM on one core by precision, on a GPU where there is one, and what a cascade saves.

    PYTHONPATH=. python benchmarks/transformer_speed.py --data DATA [--cascade DIRECTORY@sha256:HEX] [--json]

Windows are the first 1,000 characters of English pages of the crawl, cut at 256 tokens. ``cosine``: the least
similarity of an embedding to the one in fp32. With ``--cascade`` its share of documents sent on is measured on whole
pages, and the speed beside that of its first scorer alone. CPU time of one core; on a GPU wall time.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from corpus.errors import ModelError
from quality_models import load_scorer
from quality_models.card import Backbone
from quality_models.cascade import CascadeScorer
from quality_models.pages import crawl_pages
from quality_models.transformer.encoder import open_encoder
from quality_models.transformer.weights import MINILM, backbone_folder, pin_files


def speeds(windows: list[str]) -> list[dict[str, Any]]:
    """One row per precision that runs here."""
    pins = pin_files(backbone_folder(MINILM, Path()))
    rows: list[dict[str, Any]] = []
    exact = None
    for precision in ("fp32", "int8", "bf16"):
        try:
            backbone = Backbone.model_validate({"place": MINILM, "files": pins, "precision": precision})
            encoder = open_encoder(backbone, Path())
        except ModelError as missing:
            rows.append({"precision": precision, "skipped": str(missing)})
            continue
        encoder.encode(windows[:2])
        clock = time.perf_counter if precision == "bf16" else time.process_time
        began = clock()
        found = encoder.encode(windows)
        rows.append({"precision": precision, "per_s": len(windows) / (clock() - began)})
        exact = found if exact is None else exact
        rows[-1]["cosine"] = float((found * exact).sum(axis=1).min())
    return rows


def savings(reference: str, texts: list[str]) -> dict[str, Any]:
    """What a cascade sends on, and documents/s beside its first scorer alone."""
    cascade = load_scorer(reference)
    if not isinstance(cascade, CascadeScorer):
        raise SystemExit(f"{reference} is no cascade")
    found: dict[str, Any] = {"documents": len(texts)}
    for name, scorer in (("first", cascade.first), ("cascade", cascade)):
        scorer.score(texts[:2])
        cascade.seen = cascade.sent = 0
        began = time.process_time()
        scorer.score(texts)
        found[f"{name}_per_s"] = len(texts) / (time.process_time() - began)
    return found | {"sent": cascade.sent / cascade.seen, "saved": cascade.saved}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cascade")
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    pages = [page.text for page in crawl_pages(arguments.data)]
    result: dict[str, Any] = {"encoder": speeds([page[:1000] for page in pages[: arguments.windows]])}
    if arguments.cascade:
        result["cascade"] = savings(arguments.cascade, pages)
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    print("| precision | windows/s | least cosine to fp32 |\n|---|---|---|")
    for row in result["encoder"]:
        skipped = str(row.get("skipped", "")).splitlines()
        cells = f"not here: {skipped[0]} |" if skipped else f"{row['per_s']:.1f} | {row['cosine']:.4f}"
        print(f"| {row['precision']} | {cells} |")
    if "cascade" in result:
        print("\n" + json.dumps(result["cascade"]))


if __name__ == "__main__":
    main()
