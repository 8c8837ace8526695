"""FAISS structures: exact where they promise it, near enough elsewhere, scores exact always."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from corpus.errors import ModelError
from retrieval.dense import FLAT_MOST, HNSW_MOST, Dense, DenseFiles, DenseShard, build_index

RNG = np.random.default_rng(2)


MIXER = RNG.normal(size=(10, 48))


def unit_vectors(count):
    """Rows that vary in ten directions, as embeddings vary in few."""
    rows = RNG.normal(size=(count, 10)) @ MIXER + 0.1 * RNG.normal(size=(count, 48))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def shard_of(folder, vectors, structure, first=None):
    config = Dense(structure=structure)
    path = folder / f"{structure}.faiss"
    assert build_index(vectors, config, path) == structure
    np.save(folder / "vectors.npy", vectors.astype(np.float16))
    files = DenseFiles(folder / "vectors.npy", path if path.exists() else None)
    return DenseShard(files, config, np.arange(len(vectors) + 1) if first is None else first)


@pytest.mark.parametrize(("structure", "least"), [("flat", 1.0), ("hnsw", 0.95), ("ivfpq", 0.9)])
def test_recall_against_exact_search_and_exact_scores(tmp_path, structure, least):
    vectors, queries = unit_vectors(6000), unit_vectors(40)
    half = vectors.astype(np.float16).astype(np.float32)
    exact = queries @ half.T
    hits = 0
    for query, found in enumerate(shard_of(tmp_path, vectors, structure).search(queries, 10)):
        best = np.argsort(-exact[query], kind="stable")[:10]
        hits += len(set(best.tolist()) & set(found.documents.tolist()))
        assert np.allclose(found.scores, exact[query][found.documents], atol=1e-5)
        assert (np.diff(found.scores) <= 0).all()
    assert hits / 400 >= least


def test_a_document_counts_by_its_best_passage(tmp_path):
    vectors = unit_vectors(400)
    first = np.arange(0, 401, 4)  # a hundred documents of four passages
    query = vectors[[13]]
    (found,) = shard_of(tmp_path, vectors, "flat", first).search(query, 5)
    assert (found.documents[0], found.passages[0]) == (3, 13)
    assert len(set(found.documents.tolist())) == 5


@pytest.mark.parametrize("structure", ["hnsw", "ivfpq"])
def test_the_same_vectors_give_the_same_file(tmp_path, structure):
    vectors = unit_vectors(3000)
    digests = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shard_of(tmp_path / name, vectors, structure)
        digests.add(hashlib.sha256((tmp_path / name / f"{structure}.faiss").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_structure_follows_the_size():
    config = Dense()
    assert config.structure_for(FLAT_MOST) == "flat"
    assert config.structure_for(FLAT_MOST + 1) == "hnsw"
    assert config.structure_for(HNSW_MOST + 1) == "ivfpq"


def test_a_damaged_file_and_an_empty_shard(tmp_path):
    vectors = unit_vectors(500)
    shard_of(tmp_path, vectors, "hnsw")
    (tmp_path / "hnsw.faiss").write_bytes(b"IHNf" + b"\0" * 40)
    with pytest.raises(ModelError, match="build the index again"):
        DenseShard(DenseFiles(tmp_path / "vectors.npy", tmp_path / "hnsw.faiss"), Dense(), np.arange(501))
    np.save(tmp_path / "none.npy", np.zeros((0, 1), np.float16))
    shard = DenseShard(DenseFiles(tmp_path / "none.npy", None), Dense(), np.zeros(1, np.int64))
    assert len(shard.search(unit_vectors(2), 5)[0].documents) == 0


def test_models_that_pool_otherwise_are_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    from retrieval.embedder import EmbedderConfig, pin_embedder

    (tmp_path / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(ModelError, match="pooling_mode_cls_token"):
        pin_embedder(EmbedderConfig(model=str(tmp_path)))
    with pytest.raises(ModelError, match="no model directory"):
        pin_embedder(EmbedderConfig(model=str(tmp_path / "absent")))


def test_a_local_directory_embeds_and_another_model_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    from retrieval.embedder import EmbedderConfig, open_embedder, pin_embedder
    from tests.quality_models.tiny_bert import save_tiny_bert

    save_tiny_bert(tmp_path / "one")
    config = EmbedderConfig(model=str(tmp_path / "one"), precision="fp32", tokens=32, query_prefix="query: ")
    pins = pin_embedder(config)
    embedder = open_embedder(config, pins)
    rows = embedder.passages(["a text", "another text", ""])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert not np.allclose(embedder.queries(["a text"])[0], rows[0])
    assert np.allclose(embedder.queries(["a text"])[0], embedder.passages(["query: a text"])[0])
    with (tmp_path / "one" / "config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(ModelError, match="pinned"):
        open_embedder(config, pins)
