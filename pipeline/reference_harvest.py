"""The part of the reference about the block ``harvest``."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import cleandoc

from pydantic import BaseModel

from llm.config import Endpoint, Sampling, Serve
from pipeline.columns import column_docs
from pipeline.reference_format import Reasons, arrow_name, fields_table, reasons_table, table
from retrieval.cleaning import Cleaning
from retrieval.config import Harvest, Index, Rounds
from retrieval.dense import Dense
from retrieval.documents import COLUMNS
from retrieval.embedder import EmbedderConfig
from retrieval.fusion import Search
from retrieval.lexical import Bm25
from retrieval.passages import Passages
from retrieval.seeds import SeedSource
from retrieval.writers.keyphrases import Keyphrases
from retrieval.writers.language_model import LanguageModel

HARVEST: dict[str, type[BaseModel]] = {
    "harvest": Harvest,
    "harvest.seeds": SeedSource,
    "harvest.writer, kind keyphrases": Keyphrases,
    "harvest.writer, kind language_model": LanguageModel,
    "harvest.writer.endpoint": Endpoint,
    "harvest.writer.serve": Serve,
    "harvest.writer.question_sampling, thought_sampling": Sampling,
    "harvest.queries": Rounds,
    "harvest.queries.cleaning": Cleaning,
    "harvest.index": Index,
    "harvest.index.passages": Passages,
    "harvest.index.lexical": Bm25,
    "harvest.index.dense": Dense,
    "harvest.index.dense.embedder": EmbedderConfig,
    "harvest.search": Search,
}
"""Where a part of the block stands -> its model."""

HARVEST_REASONS: Reasons = (
    ("harvest/not_retrieved@1", "in the ranking of no query; the text stays in the corpus, as for the next two"),
    ("harvest/over_cap@1", "behind the first `per_query` documents of every query that found it"),
    ("harvest/below_floor@1", "below `min_lexical` and `min_dense` for every query that found it"),
)


def harvest_reference() -> Iterable[str]:
    """Its parts, what it adds, and its reasons, as Markdown."""
    yield "## The block harvest\n\nWhat it does is told in [query_of_cc.md](query_of_cc.md). Its parts:\n"
    for path, model in HARVEST.items():
        yield f"### {path}\n\n" + cleandoc(model.__doc__ or "").replace("``", "`") + "\n"
        yield fields_table(model)
    docs = column_docs()
    rows = [(f"`{name}`", arrow_name(kind), docs[name]) for name, kind in COLUMNS.items()]
    yield table(("adds", "type", "meaning"), rows)
    yield reasons_table(HARVEST_REASONS)
