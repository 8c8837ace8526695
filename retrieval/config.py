"""The block ``harvest:`` of a manifest: what is looked for in a corpus, and how."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from corpus.settings import Settings
from retrieval.cleaning import Cleaning
from retrieval.dense import Dense
from retrieval.fusion import Search
from retrieval.lexical import Bm25
from retrieval.passages import Passages
from retrieval.seeds import SeedSource
from retrieval.writers.keyphrases import Keyphrases
from retrieval.writers.language_model import LanguageModel

Writer = Annotated[Keyphrases | LanguageModel, Field(discriminator="kind")]


class Index(Settings):
    """The search index over the corpus. It is built once and used by every harvest of the same corpus."""

    path: str | None = None
    """Folder (or URL) of the index. Default: `index` in the output folder. Name one to share it between harvests."""
    passages: Passages = Passages()
    """How documents are cut."""
    lexical: Bm25 = Bm25()
    """BM25."""
    dense: Dense | None = None
    """Embeddings and FAISS beside BM25; leave out for BM25 alone, as in the method's paper."""


class Rounds(Settings):
    """How seeds become queries, and when it is enough. Our choices: the method's paper gives no figures."""

    rounds: int = Field(default=2, ge=0, le=100)
    """Rounds of writing. 0: only the seeds are asked."""
    min_novelty: float = Field(default=0.05, ge=0, le=1)
    """Stop after a round in which a smaller share of the documents found was new."""
    max_queries: int = Field(default=1_000_000, ge=1)
    """Stop when there are so many queries; those beyond are not asked."""
    cleaning: Cleaning = Cleaning()
    """What may become a query."""


class Harvest(Settings):
    """Take from a corpus what treats the subjects of some seeds (Query of CC, arXiv 2401.14624)."""

    seeds: tuple[SeedSource, ...] = Field(min_length=1)
    """What is looked for."""
    writer: Writer = Keyphrases()
    """Who writes queries."""
    queries: Rounds = Rounds()
    """How many, and which are good enough."""
    index: Index = Index()
    """What is searched."""
    search: Search = Search()
    """How much each query may bring."""
    control: int = Field(default=2000, ge=0)
    """Documents drawn at random from the corpus, to hold the scores of what is taken against. 0: none."""
