"""What an index is on disk: its card, and the arrays and statistics behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from corpus.errors import RunError
from corpus.storage import FileEntry, Store, fetch
from retrieval.config import Index
from retrieval.lexical import Statistics

CARD = "card.json"


class Shard(BaseModel):
    """The part of an index over one unit of the corpus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    documents: int
    passages: int
    structure: str | None
    files: dict[str, FileEntry]


class IndexCard(BaseModel):
    """What an index covers, how it was made, and its files, each with its sha256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    corpus: tuple[str, ...]
    """Identity of every unit of the corpus, in order."""
    settings: Index
    embedder_files: dict[str, str]
    code: str
    passages: int
    mean_length: float
    statistics: dict[str, FileEntry]
    shards: tuple[Shard, ...]

    @property
    def documents(self) -> int:
        """Documents that can be found."""
        return sum(shard.documents for shard in self.shards)


def read_card(store: Store) -> IndexCard | None:
    """The card of the index in a folder; None where there is none. Raises ``RunError`` for a damaged one."""
    if not store.exists(CARD):
        return None
    try:
        return IndexCard.model_validate_json(store.read(CARD))
    except ValidationError as error:
        fault = error.errors()[0]
        raise RunError(
            f"the card of the index cannot be read: {fault['msg']} at {fault['loc']}",
            where=f"{store.root}/{CARD}",
            fix="delete card.json and run the manifest again: what is built already is found",
        ) from None


def read_statistics(store: Store, files: Mapping[str, FileEntry], passages: int, mean_length: float) -> Statistics:
    """The corpus statistics of an index."""
    return Statistics(passages, mean_length, read_array(store, files["terms"]), read_array(store, files["frequencies"]))


def read_array(store: Store, entry: FileEntry) -> NDArray[Any]:
    with fetch(store, entry) as file:
        found: NDArray[Any] = np.load(file, allow_pickle=False)
    return found
