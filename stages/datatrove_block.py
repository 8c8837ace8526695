"""The stage ``datatrove``: any filter or formatter block of the datatrove package, by class name and arguments.

A filter's refusal becomes the verdict ``datatrove/<Class>/<their reason>@<their version>``; what it does to the text on
the way (C4 drops lines) is kept. A formatter rewrites the text. A document on which a block raises is quarantined
with the error as detail. The choice is closed to the classes of ``datatrove.pipeline.filters`` and
``...formatters``: no import paths.

Blocks see one document at a time, as the package's own runner would give it, but their state must not carry over from
document to document: ``PIIFormatter``, whose replacements go round in turn, is started anew for each. Sampling and
lambda filters are refused: one depends on chance, the other on code. Blocks that fetch files are tried once at
opening, so that a missing network is one clear error and not a quarantined crawl.

Slow: these blocks cost milliseconds per document (88 documents/s for their word tokeniser, which each filter runs
again). Needs the packages datatrove and, for English tokenising, spacy.
"""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import re
from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from corpus.errors import StageError
from corpus.schema import give_verdict, set_column
from stages.stage import BatchFunction, Resources, Stage

_MODULES = ("datatrove.pipeline.filters", "datatrove.pipeline.formatters")
_REFUSED = {
    "LambdaFilter": "it takes code, which a manifest cannot hold",
    "SamplerFilter": "it depends on chance, and the result must depend on the document alone",
}
_STATEFUL = ("PIIFormatter",)
_PROBE = "The quick brown fox jumps over the lazy dog, and the dog does not mind it at all. "


class DatatroveBlock(Stage):
    """Run one filter or formatter block of the datatrove package."""

    kind: Literal["datatrove"] = "datatrove"
    block: str = Field(pattern=r"^[A-Za-z0-9]+$")
    """Class name, such as GopherQualityFilter, C4QualityFilter or FTFYFormatter."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class, as its documentation names them."""

    def needs(self) -> frozenset[str]:
        """``id``, ``url`` and ``content``: the block finds the URL in the document's metadata."""
        return frozenset({"content", "id", "url"})

    def open(self, resources: Resources) -> BatchFunction:
        """Make the block and try it once; raises ``StageError`` when it cannot be made or wants the network."""
        block = self._make()
        version = importlib.metadata.version("datatrove")
        try:
            apply(self._fresh(block), _PROBE * 20, "probe", "https://example.org/")
        except Exception as error:
            raise StageError(
                f"datatrove block {self.block} fails at its first document: {_summary(error)}",
                fix="it may need the network or another package; give a local file, or use another block",
            ) from error
        return lambda batch: self._run(batch, block, version)

    def _make(self) -> Any:
        classes = available()
        if self.block in _REFUSED:
            raise StageError(f"datatrove block {self.block} cannot be used: {_REFUSED[self.block]}")
        if self.block not in classes:
            raise StageError(f"unknown datatrove block {self.block!r}", fix=f"there are: {', '.join(sorted(classes))}")
        if "exclusion_writer" in self.arguments:
            raise StageError("exclusion_writer cannot be set", fix="rejected documents are written by this software")
        try:
            return classes[self.block](**self.arguments)
        except Exception as error:
            raise StageError(f"datatrove block {self.block} cannot be made: {_summary(error)}") from error

    def _fresh(self, block: Any) -> Any:
        return copy.deepcopy(block) if self.block in _STATEFUL else block

    def _run(self, batch: pa.Table, block: Any, version: str) -> pa.Table:
        rejected: list[str | None] = [None] * batch.num_rows
        failed: list[str | None] = [None] * batch.num_rows
        texts: list[str] = batch.column("content").to_pylist()
        ids, urls = batch.column("id").to_pylist(), batch.column("url").to_pylist()
        for row, text in enumerate(texts):
            try:
                texts[row], reason = apply(self._fresh(block), text, ids[row], urls[row])
            except Exception as error:
                failed[row] = _summary(error)
            else:
                if reason is not None:
                    rejected[row] = f"datatrove/{self.block}/{reason}@{version}"
        batch = set_column(batch, "content", pa.array(texts, pa.large_string()))
        cause = f"quarantine/datatrove_{self.block}"
        batch = give_verdict(batch, _given(failed), cause, outcome="quarantined", detail=failed)
        return give_verdict(batch, _given(rejected), rejected)


def available() -> Mapping[str, type]:
    """Class name to class of all filters and formatters of the installed datatrove."""
    try:
        modules = [importlib.import_module(name) for name in _MODULES]
    except ImportError as error:
        raise StageError("the package datatrove is not installed", fix="pip install datatrove[io] spacy") from error
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__.startswith("datatrove.pipeline.") and name not in _REFUSED
    }


def apply(block: Any, text: str, identity: str, url: str | None) -> tuple[str, str | None]:
    """Run a block on one text; returns (the text as the block left it, reason of refusal or None)."""
    from datatrove.data import Document

    if hasattr(block, "format"):
        return block.format(text), None
    document = Document(text=text, id=identity, metadata={} if url is None else {"url": url})
    verdict = block.filter(document)
    kept, reason = verdict if isinstance(verdict, tuple) else (verdict, None)
    if kept:
        return document.text, None
    return text, re.sub(r"[^a-z0-9]+", "_", str(reason or "filtered").lower()).strip("_")


def _given(values: list[str | None]) -> Any:
    import numpy as np

    return np.array([value is not None for value in values], np.bool_)


def _summary(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
