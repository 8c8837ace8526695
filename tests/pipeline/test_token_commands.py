"""What the commands say about a token corpus and about a training that is not run yet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.training.data.made import ROOT, run_pipeline, texts, write_manifest, write_text

LENGTH = 24


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> tuple[Path, Path]:
    """Folder of a token corpus, and its text."""
    folder = tmp_path_factory.mktemp("tokens")
    text = write_text(folder / "web.parquet", texts(5, 120, 60))
    tokenize = {
        "sequence_length": LENGTH,
        "held_out": 0.1,
        "tokenizer": {"train": {"vocab": 300}},
        "domains": {"web": {"paths": [str(text)]}},
    }
    done = run_pipeline("run", str(write_manifest(folder / "tokenize.yaml", folder / "out", tokenize)))
    assert done.returncode == 0, done.stderr
    return folder / "out", text


def test_explain_shows_the_rows_that_hold_a_document(tokens):
    out, text = tokens
    table = pq.read_table(text)
    longest = max(range(table.num_rows), key=lambda row: len(table["content"][row].as_py()))
    wanted = table["id"][longest].as_py()
    done = run_pipeline("explain", str(out), wanted, "--json")
    assert done.returncode == 0, done.stderr
    pieces = json.loads(done.stdout)["documents"]
    assert len(pieces) > 2
    assert "".join(piece["content"] for piece in pieces) == table["content"][longest].as_py() + "<|endoftext|>"
    for piece in pieces:
        row = pq.read_table(out / piece["shard"]).slice(piece["row"], 1).to_pylist()[0]
        assert wanted in row["documents"]
        assert piece["end"] <= row["length"]
    assert run_pipeline("explain", str(out), "nobody").returncode == 3


def test_no_rule_can_be_changed_in_rows_of_tokens(tokens):
    done = run_pipeline("whatif", str(tokens[0]), "--rule", "gopher/word_count@1.min=3")
    assert done.returncode == 1
    assert "ask the corpus of their text" in done.stderr


def test_the_card_finds_domains_and_splits_for_datasets(tokens, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    import datasets

    out, _ = tokens
    for split in ("train", "held_out"):
        loaded = datasets.load_dataset(str(out), "web", split=split, cache_dir=str(tmp_path))
        assert {len(row) for row in loaded["tokens"]} == {LENGTH + 1}
    before = (out / "README.md").read_text("utf-8")
    (out / "README.md").unlink()
    assert run_pipeline("report", str(out)).returncode == 0
    assert (out / "README.md").read_text("utf-8") == before
    assert not (out / "report.html").exists()


@pytest.mark.parametrize("form", ["mds", "litdata", "datatrove", "huggingface"])
def test_export_writes_every_row_once_and_nothing_over_other_files(tokens, tmp_path, form):
    done = run_pipeline("export", str(tokens[0]), form, str(tmp_path / form), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] > 20
    again = run_pipeline("export", str(tokens[0]), form, str(tmp_path / form))
    assert again.returncode == 1
    assert "empty" in again.stderr or "not empty" in again.stderr


def test_export_to_an_unknown_form_names_the_known_ones(tokens, tmp_path):
    done = run_pipeline("export", str(tokens[0]), "msd", str(tmp_path / "x"))
    assert done.returncode == 2
    assert "datatrove, huggingface, litdata, mds" in done.stderr


def test_validate_knows_token_corpora_and_trainings(tokens, tmp_path):
    out, text = tokens
    tokenize = {"domains": {"web": {"paths": [str(text)]}}}
    done = run_pipeline("validate", str(write_manifest(tmp_path / "t.yaml", tmp_path / "o", tokenize)), "--json")
    assert json.loads(done.stdout)["web/train"].startswith("1 files")
    recipe = json.loads((Path(__file__).parent / "sheared.json").read_text("utf-8")) | {"data": str(out)}
    (tmp_path / "s.yaml").write_text(json.dumps(recipe | {"output": str(tmp_path / "run")}))
    done = run_pipeline("validate", str(tmp_path / "s.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["train"] == "sheared"
    assert not (tmp_path / "run").exists()


WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from pipeline.cli import main; main(sys.argv[1:])"


def without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line where torch is not installed."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_all_but_training_works_without_torch(tokens, tmp_path):
    out, text = tokens
    tokenize = {"domains": {"web": {"paths": [str(text)]}}, "tokenizer": {"train": {"vocab": 300}}}
    manifest = write_manifest(tmp_path / "t.yaml", tmp_path / "o", tokenize)
    commands = [
        ("run", str(manifest)),
        ("validate", str(manifest)),
        *((command, str(out)) for command in ("status", "report", "verify")),
        ("export", str(out), "mds", str(tmp_path / "mds")),
    ]
    for command in commands:
        done = without_torch(*command)
        assert done.returncode == 0, (command, done.stderr)
    recipe = json.loads((Path(__file__).parent / "sheared.json").read_text("utf-8"))
    (tmp_path / "s.yaml").write_text(json.dumps(recipe | {"data": str(out), "output": str(tmp_path / "run")}))
    done = without_torch("run", str(tmp_path / "s.yaml"))
    assert done.returncode == 2
    assert "training needs torch" in done.stderr
    assert "corpus-pipeline[train]" in done.stderr
