"""Nearest neighbours of embeddings over the passages of one shard, with FAISS.

The structure follows the size: flat (exact) for small shards, HNSW (graph) for middle ones, IVF-PQ (clusters and codes)
for large ones. What the structure finds is scored again with the embeddings themselves, which are kept in half
precision: scores are exact, compare between shards of any structure, and do not depend on the structure's codes.

Where faiss-gpu sees a GPU, flat and IVF-PQ indexes are copied to it; everything else is the same. Figures for
100,000 vectors on a core are in benchmarks/RESULTS.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from corpus.errors import ModelError
from corpus.settings import Settings
from retrieval.embedder import EmbedderConfig, Vectors
from retrieval.lexical import Found

Structure = Literal["flat", "hnsw", "ivfpq"]
FLAT_MOST: Final = 100_000
HNSW_MOST: Final = 1_000_000
_OVERFETCH: Final = 4  # passages asked for per document wanted
_CODE_DIMENSIONS: Final = 4  # of a vector in a byte of its code


class Dense(Settings):
    """The dense index. Not in the method's paper, which searches with BM25 alone."""

    embedder: EmbedderConfig = EmbedderConfig()
    """Which model turns texts into vectors."""
    structure: Literal["auto", "flat", "hnsw", "ivfpq"] = "auto"
    """`auto`: flat up to 100,000 passages in a shard, hnsw up to a million, ivfpq above."""
    hnsw_links: int = Field(default=32, ge=4, le=256)
    """Neighbours of a node of the graph."""
    hnsw_build: int = Field(default=300, ge=1)
    """Nodes that building keeps open: more build a better graph, slower."""
    hnsw_search: int = Field(default=256, ge=1)
    """Nodes that a search keeps open: more find more, slower."""
    ivf_probes: int = Field(default=128, ge=1)
    """Clusters that a search looks into."""
    seed: int = Field(default=1, ge=0)
    """Of the clustering."""

    def structure_for(self, passages: int) -> Structure:
        """The structure of a shard of that many passages."""
        if self.structure != "auto":
            return self.structure
        return "flat" if passages <= FLAT_MOST else "hnsw" if passages <= HNSW_MOST else "ivfpq"


class DenseFiles(NamedTuple):
    """A shard on disk: ``vectors`` float16 (passages, dimensions); ``structure`` a FAISS file, absent where flat."""

    vectors: Path
    structure: Path | None


def build_index(vectors: Vectors, config: Dense, path: Path) -> Structure:
    """Build the structure over ``vectors`` (rows of length 1) and write it to ``path``; a flat one needs no file."""
    import faiss

    faiss.omp_set_num_threads(1)  # the order in which threads insert would decide what the graph looks like
    structure = config.structure_for(len(vectors))
    size = vectors.shape[1]
    if structure == "flat":
        return structure
    if structure == "hnsw":
        index: Any = faiss.IndexHNSWFlat(size, config.hnsw_links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = config.hnsw_build
    else:
        lists = max(1, min(int(4 * np.sqrt(len(vectors))), len(vectors) // 39))
        quantizer = faiss.IndexFlatIP(size)
        bits = 8 if len(vectors) >= 39 * 256 else 4
        index = faiss.IndexIVFPQ(quantizer, size, lists, _code_bytes(size), bits, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = config.seed
        index.train(vectors)
    index.add(np.ascontiguousarray(vectors, np.float32))
    faiss.write_index(index, str(path))
    return structure


def _code_bytes(size: int) -> int:
    wanted = max(1, size // _CODE_DIMENSIONS)
    return next(count for count in range(wanted, 0, -1) if size % count == 0)


class DenseShard:
    """Searches one shard. ``first`` holds the first passage of each document, in order, and the number of passages."""

    def __init__(self, files: DenseFiles, config: Dense, first: NDArray[np.int64]) -> None:
        self._vectors: NDArray[np.float16] = np.load(files.vectors, mmap_mode="r")
        self._first = first
        self._index = _open_index(files, self._vectors, config)

    def search(self, queries: Vectors, k: int) -> list[Found]:
        """The best ``k`` documents for each query, each by its best passage; equal scores in order of the corpus."""
        if not len(self._vectors):
            return [Found.none()] * len(queries)
        wanted = min(_OVERFETCH * k, len(self._vectors))
        _, found = self._index.search(np.ascontiguousarray(queries, np.float32), wanted)
        return [self._best(query, row, k) for query, row in zip(queries, found, strict=True)]

    def _best(self, query: Vectors, passages: NDArray[np.int64], k: int) -> Found:
        passages = np.unique(passages[passages >= 0])
        scores = self._vectors[passages].astype(np.float32) @ query
        documents = np.searchsorted(self._first, passages, side="right") - 1
        order = np.lexsort((passages, -scores, documents))
        _, best = np.unique(documents[order], return_index=True)  # the first of each document is its best
        best = order[best]
        best = best[np.lexsort((documents[best], -scores[best]))][:k]
        return Found(documents[best], passages[best], scores[best])


def _open_index(files: DenseFiles, vectors: NDArray[np.float16], config: Dense) -> Any:
    import faiss

    faiss.omp_set_num_threads(1)
    if files.structure is None:
        index: Any = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors.astype(np.float32))
    else:
        try:
            index = faiss.read_index(str(files.structure))
        except RuntimeError as error:
            raise ModelError(
                f"FAISS cannot read the index: {error}", where=str(files.structure), fix="build the index again"
            ) from None
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = config.hnsw_search
        return index
    if isinstance(index, faiss.IndexIVF):
        index.nprobe = config.ivf_probes
    return _on_gpu(index)


def _on_gpu(index: Any) -> Any:
    """A copy on the first GPU where faiss-gpu sees one, else the index itself."""
    import faiss

    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
        return index
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
