"""Token corpora in the formats of other loaders: for trainers that bring their own.

mds           mosaicml-streaming: shards of samples and an index, per domain
litdata       litData: chunks of tokens for its ``TokensLoader``, per domain
datatrove     datatrove and nanotron: documents one after the other, and where they end
huggingface   Hugging Face ``datasets``: the Parquet shards as they are, one config per domain
target        what all of them share: the folder, the tokenizer, rows file by file

    from training.data.source import open_tokens
    from training.export import EXPORTERS

    EXPORTERS["mds"](open_tokens("runs/tokens"), Path("runs/tokens-mds"))

An export is one pass in the order of the corpus, with the memory of one file of the other format, and equal corpora
give equal bytes. Rows are not shuffled: that is the business of the loader that reads them. An index is written after
everything it names, so that an export that was killed cannot be taken for a whole one; make it again in a fresh folder.
None of the libraries is needed to write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from training.data.source import Corpus
from training.export.datatrove import to_datatrove
from training.export.huggingface import to_huggingface
from training.export.litdata import to_litdata
from training.export.mds import to_mds
from training.export.target import Exported

Exporter = Callable[[Corpus, Path], Exported]
EXPORTERS: Mapping[str, Exporter] = {
    "datatrove": to_datatrove,
    "huggingface": to_huggingface,
    "litdata": to_litdata,
    "mds": to_mds,
}
"""Name of a format -> who writes it."""

__all__ = ["EXPORTERS", "Exported", "Exporter", "to_datatrove", "to_huggingface", "to_litdata", "to_mds"]
