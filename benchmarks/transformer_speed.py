"""The second tier: MiniLM's documents/s on one core by precision, on a GPU where there is one; what a cascade saves.

    PYTHONPATH=. python benchmarks/transformer_speed.py --data DATA [--cascade DIRECTORY@sha256:HEX] [--json]

Documents are English pages of the crawl, each read through up to three windows of 1,000 characters (the default of a
card), cut at 256 tokens. ``cosine``: the least similarity of a window's embedding to the one in fp32. With
``--cascade`` its share of documents sent on is measured on whole pages, and the speed beside that of its first scorer
alone. CPU time of one core (``OMP_NUM_THREADS=1``); with ``bf16`` wall time, and ``device`` says of what.
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
from quality_models.transformer.encoder import Encoder, TorchEncoder, open_encoder
from quality_models.transformer.weights import MINILM, backbone_folder, pin_files
from quality_models.windows import Windows, cut_windows


def speeds(documents: list[str]) -> list[dict[str, Any]]:
    """One row per precision that runs here."""
    windows = [window for document in documents for window in cut_windows(document, Windows())]
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
        took = clock() - began
        speed = {"documents_per_s": len(documents) / took, "windows_per_s": len(windows) / took}
        rows.append({"precision": precision, "device": device_of(encoder), **speed})
        exact = found if exact is None else exact
        rows[-1]["cosine"] = float((found * exact).sum(axis=1).min())
    return rows


def device_of(encoder: Encoder) -> str:
    """``cpu``, or the name of the GPU."""
    if not isinstance(encoder, TorchEncoder):
        return "cpu"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


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
    parser.add_argument("--documents", type=int, default=60, help="for a GPU take all, about 2,000")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    pages = [page.text for page in crawl_pages(arguments.data)]
    result: dict[str, Any] = {"encoder": speeds(pages[: arguments.documents])}
    if arguments.cascade:
        result["cascade"] = savings(arguments.cascade, pages)
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    print("| precision | device | documents/s | windows/s | least cosine to fp32 |\n|---|---|---|---|---|")
    for row in result["encoder"]:
        skipped = str(row.get("skipped", "")).splitlines()
        if skipped:
            print(f"| {row['precision']} | not here: {skipped[0]} | | | |")
            continue
        figures = f"{row['documents_per_s']:.1f} | {row['windows_per_s']:.1f} | {row['cosine']:.4f}"
        print(f"| {row['precision']} | {row['device']} | {figures} |")
    if "cascade" in result:
        print("\n" + json.dumps(result["cascade"]))


if __name__ == "__main__":
    main()
