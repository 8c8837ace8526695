"""What counts as a duplicate, as one validated configuration.

The method is MinHash with banding (Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3)
with the figures of WanJuan-CC (128 hashes, 5-grams, Jaccard 0.7) and the 14 bands of 9 rows of RedPajama-v2. Banding
only proposes pairs: each one is verified with the true Jaccard similarity of the two texts before anything is removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from stages.stage import Stage


class Dedup(Stage):
    """Find documents that repeat each other, and keep one of each group."""

    scope: ClassVar[Literal["batch", "corpus"]] = "corpus"
    kind: Literal["dedup"] = "dedup"
    engine: Literal["kernel", "datasketch"] = "kernel"
    """Who computes signatures: the compiled kernel, or the datasketch package (the reference, slower by far)."""
    num_hashes: int = Field(default=128, ge=1, le=4096)
    """Hash functions in a signature. The standard error of an estimate at Jaccard J is sqrt(J(1-J)/num_hashes)."""
    ngram: int = Field(default=5, ge=1, le=100)
    """Words in a shingle. A document with fewer words is one shingle as a whole."""
    unspaced: Literal["runs", "characters"] = "runs"
    """What a word is in scripts that put no blanks between words (Han, kana, Thai, Lao, Khmer, Burmese): a whole run
    of letters, as the regular expression \\w+ has it, or each character. Take `characters` for such languages."""
    bands: int = Field(default=14, ge=1, le=255)
    """Bands of the signature; two documents that agree on all rows of any band become a candidate pair."""
    rows: int = Field(default=9, ge=1)
    """Hashes in a band. bands * rows may not exceed num_hashes."""
    jaccard: float = Field(default=0.7, gt=0, le=1)
    """Candidate pairs at or above this true Jaccard similarity of their shingle sets are near duplicates."""
    anchor_jaccard: float | None = Field(default=None, gt=0, le=1)
    """A document is removed only for a survivor at least this similar to it; unset, `jaccard` applies. It keeps a chain
    A-B-C, in which C no longer resembles A, from being merged into A."""
    seed: int = Field(default=1, ge=0)
    """Chooses the hash functions."""
    exact: bool = True
    """Remove documents whose content is the same, byte for byte, apart from ASCII whitespace at either end."""
    near: bool = True
    """Remove near duplicates."""

    @model_validator(mode="after")
    def _fits(self) -> Dedup:
        if self.bands * self.rows > self.num_hashes:
            needed = self.bands * self.rows
            raise ValueError(f"bands x rows takes {needed} hashes, num_hashes is {self.num_hashes}: they must fit")
        if not (self.exact or self.near):
            raise ValueError("exact and near are both off: nothing would be compared; drop the stage instead")
        return self

    @property
    def anchor_threshold(self) -> float:
        """The similarity to a survivor that removal takes."""
        return self.jaccard if self.anchor_jaccard is None else self.anchor_jaccard

    def candidate_probability(self, jaccard: float) -> float:
        """Chance that banding proposes a pair of that true Jaccard similarity: the S-curve 1 - (1 - J^rows)^bands."""
        return float(1.0 - (1.0 - jaccard**self.rows) ** self.bands)

    def needs(self) -> frozenset[str]:
        return frozenset({"id", "crawl", "date", "content"})

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"cluster": pa.string()}
