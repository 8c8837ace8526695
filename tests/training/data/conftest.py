"""One token corpus for all tests of the loader, made by a real run; and a cache folder that is not the user's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.training.data.made import run_pipeline, texts, write_manifest, write_text

LENGTH = 16
# files of each domain: (documents, words of the one in the middle). The first is two blocks long
FILES = {
    "long": ((4200, 70), (30, 20)),
    "many": ((60, 30), (25, 30), (90, 10), (10, 60), (5, 5)),
    "few": ((12, 10), (20, 8)),
}


@dataclass(frozen=True)
class Made:
    """A published token corpus, the text it was made from, and what the run said."""

    out: Path
    sources: dict[str, list[Path]]
    manifest: Path
    result: dict


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Hashes and counts are remembered here."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORPUS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def made(tmp_path_factory, cache) -> Made:
    """Three domains, eleven blocks of unequal size, some documents held out."""
    folder = tmp_path_factory.mktemp("made")
    sources = {
        name: [
            write_text(folder / name / f"{name}{number}.parquet", texts(1000 * place + number, *size), group=500)
            for number, size in enumerate(files)
        ]
        for place, (name, files) in enumerate(FILES.items())
    }
    tokenize = {
        "sequence_length": LENGTH,
        "held_out": 0.1,
        "tokenizer": {"train": {"vocab": 400, "sample_bytes": "200KiB"}},
        "domains": {name: {"paths": [str(folder / name / "*.parquet")]} for name in sources},
    }
    manifest = write_manifest(folder / "tokenize.yaml", folder / "out", tokenize)
    done = run_pipeline("run", str(manifest), "--json")
    assert done.returncode == 0, done.stderr
    return Made(folder / "out", sources, manifest, json.loads(done.stdout.strip().splitlines()[-1]))
