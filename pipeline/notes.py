"""Consequences of a manifest that are easier to see than to compute: what ``pipeline validate`` says last."""

from __future__ import annotations

from pipeline.manifest import Manifest
from stages.decontaminate import Decontaminate
from stages.dedup import Dedup


def notes(manifest: Manifest) -> list[str]:
    """One line each."""
    dedup = [line for stage in manifest.stages if isinstance(stage, Dedup) for line in _dedup_notes(stage)]
    return [*dedup, *_seed_notes(manifest)]


def _dedup_notes(config: Dedup) -> list[str]:
    curve = ", ".join(f"{j:.2f}: {config.candidate_probability(j):.3f}" for j in (0.5, 0.6, 0.7, 0.8, 0.9))
    return [f"dedup: {config.bands} bands of {config.rows} rows propose a pair with probability (by Jaccard) {curve}"]


def _seed_notes(manifest: Manifest) -> list[str]:
    """Seeds are often benchmark questions, and a harvest looks for texts that are like them."""
    looked_for = {path for stage in manifest.stages if isinstance(stage, Decontaminate) for path in stage.benchmarks}
    seeds = [source.path for source in manifest.harvest.seeds if source.path] if manifest.harvest else []
    return [
        f"harvest: documents that hold the seeds of {path} are kept; name it in the stage decontaminate if they must go"
        for path in seeds
        if path not in looked_for
    ]
