"""A small token corpus of two domains with held-out rows, made by a real run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.data.made import run_pipeline, texts, write_manifest, write_text

LENGTH = 32


@pytest.fixture(scope="session")
def tokens(tmp_path_factory) -> Path:
    """Folder of the token corpus: domains ``easy`` and ``hard``, 300 token ids."""
    folder = tmp_path_factory.mktemp("tokens")
    write_text(folder / "easy.parquet", ["one two three four five six seven"] * 300)
    write_text(folder / "hard.parquet", texts(3, 400, 40))
    tokenize = {
        "sequence_length": LENGTH,
        "held_out": 0.1,
        "tokenizer": {"train": {"vocab": 300, "sample_bytes": "100KiB"}},
        "domains": {name: {"paths": [str(folder / f"{name}.parquet")]} for name in ("easy", "hard")},
    }
    done = run_pipeline("run", str(write_manifest(folder / "tokenize.yaml", folder / "out", tokenize)))
    assert done.returncode == 0, done.stderr
    return folder / "out"
