"""The shape that pruning aims at."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from corpus.errors import ManifestError
from corpus.settings import Settings
from training.shape import LlamaShape


class Target(Settings):
    """A smaller shape; the width of a head stays that of the source."""

    layers: int = Field(ge=1)
    """Layers that remain."""
    hidden: int = Field(ge=2)
    """Width of the residual stream that remains."""
    intermediate: int = Field(ge=1)
    """Width of the feed-forward that remains."""
    heads: int = Field(ge=1)
    """Query heads that remain in each layer; with grouped queries they go by whole groups."""


def target_shape(source: LlamaShape, target: Target) -> LlamaShape:
    """The shape of the pruned model. Raises ``ManifestError`` with every reason why it cannot be reached."""
    sizes = {name: (getattr(source, name), getattr(target, name)) for name in Target.model_fields}
    faults = [f"{name}: {new} is more than the source's {old}" for name, (old, new) in sizes.items() if new > old]
    if target.heads % source.group:
        faults.append(f"heads: {target.heads} is no multiple of {source.group}, the query heads per key and value head")
    if not faults and all(new == old for old, new in sizes.values()):
        faults.append("it is the source itself: nothing to prune")
    if faults:
        raise ManifestError("the target shape cannot be reached\n  " + "\n  ".join(faults), fix="see `target`")
    kept = target.model_dump() | {"kv_heads": target.heads // source.group}
    return source.model_copy(update=kept)


def units(source: LlamaShape) -> dict[str, int]:
    """How many units each group of masks holds (per layer, where layers have their own)."""
    return {
        "layer": source.layers,
        "hidden": source.hidden,
        "head": source.kv_heads,
        "intermediate": source.intermediate,
    }


def kept_units(source: LlamaShape, target: Target) -> Mapping[str, int]:
    """How many of them remain."""
    return {
        "layer": target.layers,
        "hidden": target.hidden,
        "head": target.heads // source.group,
        "intermediate": target.intermediate,
    }
