"""The command line: what a person sees who makes a mistake, asks a question, or breaks a corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

MANIFEST = Path(__file__).parents[2] / "manifests" / "wanjuan.yaml"


@pytest.fixture(scope="module")
def corpus(cli, crawl, tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "out"
    settings = (f"source.paths=['{crawl[0]}/**/*.warc*']", f"output.path={out}", "executor.kind=local")
    done = cli("run", str(MANIFEST), "--json", *(part for setting in settings for part in ("--set", setting)))
    assert done.code == 0, done.stderr
    return out, done.result


def edited(tmp_path, old, new):
    text = MANIFEST.read_text()
    assert old in text
    path = tmp_path / "m.yaml"
    path.write_text(text.replace(old, new, 1))
    return str(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("keep: [en]", "keeep: [en]", ["stages.2.keeep", "unknown key", "did you mean 'keep'?"]),
        ("kind: dedup", "kind: dedupe", ["unknown stage kind 'dedupe'", "did you mean 'dedup'?"]),
        ("output:", "outputs:", ["outputs: unknown key; did you mean 'output'?"]),
        ("keep: 0.5", "keep: 1.5", ["stages.14.keep", "less than or equal to 1"]),
        ("kind: ray", "kind: rya", ["executor.kind", "did you mean 'ray'?"]),
        ("name: wanjuan", "name: wanjuan\nname: twice", ["duplicate key"]),
        ("name: wanjuan", "name: &a wanjuan", ["anchors and aliases are not accepted"]),
        ("name: wanjuan", "name: [", ["not valid YAML"]),
        ("name: wanjuan", "name: !!python/object:os.system x", ["not valid YAML"]),
        ("  - kind: signals # everything measurable about the text, once\n", "", ["needs signals.", "add the stage"]),
    ],
)
def test_a_fault_in_the_manifest_is_named_with_its_place_before_anything_starts(cli, tmp_path, old, new, said):
    done = cli("run", edited(tmp_path, old, new), "--set", f"output.path={tmp_path / 'out'}")
    assert done.code == 2
    for words in said:
        assert words in done.stderr.replace("\n", " "), done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_the_line_of_a_fault_is_given(cli, tmp_path):
    path = edited(tmp_path, "keep: [en]", "keeep: [en]")
    line = next(i for i, text in enumerate(Path(path).read_text().splitlines(), 1) if "keeep" in text)
    assert f"m.yaml:{line}:5" in cli("validate", path).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "nowhere.yaml"), "there is no manifest"),
        (("run", str(MANIFEST), "--set", "nonsense"), "dotted.key=value"),
        (("run", str(MANIFEST), "--set", "stages.extracct.engine=x"), "is not there"),
        (("run", str(MANIFEST), "--set", "stages.score.max=1"), "more than once"),
        (("frobnicate",), "No such command"),
    ],
)
def test_a_wrong_command_is_answered_with_help_and_code_2(cli, arguments, said):
    done = cli(*arguments)
    assert done.code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_that_matches_nothing_fails_before_work(cli, tmp_path):
    settings = ("source.paths=['nowhere/*.warc']", f"output.path={tmp_path}", "executor.kind=local")
    done = cli("run", str(MANIFEST), *(part for setting in settings for part in ("--set", setting)))
    assert done.code == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_validate_shows_the_plan(cli, crawl, tmp_path):
    settings = (f"source.paths=['{crawl[0]}/**/*.warc*']", f"output.path={tmp_path}")
    done = cli("validate", str(MANIFEST), "--json", *(part for setting in settings for part in ("--set", setting)))
    assert done.code == 0, done.stderr
    assert list(done.result["phases"]) == ["documents", "after_dedup", "after_rank_cut"]


def test_status_tells_an_empty_folder_from_a_published_one(cli, corpus, tmp_path):
    assert cli("status", str(tmp_path)).code == 3
    found = cli("status", str(corpus[0]), "--json").result
    assert (found["state"], found["published"]["digest"]) == ("published", corpus[1]["digest"])


def test_explain_shows_every_rule_with_its_bound_for_a_kept_document(cli, corpus):
    import pyarrow.parquet as pq

    shard = next((corpus[0] / "documents").glob("*.parquet"))
    row = pq.read_table(shard).slice(0, 1).to_pylist()[0]
    captures = cli("explain", str(corpus[0]), row["url"], "--json").result["documents"]
    assert {capture["url"] for capture in captures} == {row["url"]}
    (found,) = (capture for capture in captures if capture["id"] == row["id"])
    assert found["outcome"] == "kept"
    assert found["shard"] == f"documents/{shard.name}"
    assert all(rule["passed"] for rule in found["rules"])
    assert {score["score"] for score in found["scores"]} >= {"toxic_score", "fluency_score"}
    assert cli("explain", str(corpus[0]), row["id"], "--json").result["documents"] == [found]
    assert "meets" in cli("explain", str(corpus[0]), row["id"]).stdout


def test_explain_names_the_rule_that_turned_a_document_down_and_the_partner_of_a_duplicate(cli, corpus):
    import pyarrow.parquet as pq

    rejected = pq.read_table(next((corpus[0] / "rejected").glob("*.parquet"))).to_pylist()
    ruled = next(row for row in rejected if row["reason"].startswith(("gopher/", "wanjuan/", "c4/")))
    (found,) = cli("explain", str(corpus[0]), ruled["id"], "--json").result["documents"]
    assert ruled["reason"] in [rule["rule"] for rule in found["rules"] if rule["passed"] is False]
    copy = next(row for row in rejected if row["outcome"] == "duplicate")
    (found,) = cli("explain", str(corpus[0]), copy["id"], "--json").result["documents"]
    assert copy["survivor"] in [member["id"] for member in found["duplicates"]]
    assert cli("explain", str(corpus[0]), "https://nowhere.example/").code == 3


def test_whatif_tells_what_a_bound_would_have_kept(cli, corpus):
    same = cli("whatif", str(corpus[0]), "--json").result
    assert same["kept_before"] == same["kept_after"]
    rule = max(same["rules"], key=lambda rule: rule["fails_alone"])["rule"]
    stricter = cli("whatif", str(corpus[0]), "--rule", f"{rule}.min=1e9", "--json").result
    assert stricter["kept_after"] == 0
    assert cli("whatif", str(corpus[0]), "--rule", "nonsense.min=1").code == 2


def test_verify_finds_a_flipped_byte_a_missing_and_a_foreign_file(cli, corpus):
    folder = corpus[0] / "rejected"
    shard = next(folder.glob("*.parquet"))
    sound = shard.read_bytes()
    assert cli("verify", str(corpus[0])).code == 0
    for damage in (sound[:-9] + b"?" + sound[-8:], sound[: len(sound) // 2], None):
        shard.unlink()
        if damage is not None:
            shard.write_bytes(damage)
        done = cli("verify", str(corpus[0]), "--json")
        assert done.code == 1
        assert shard.name in done.result["faults"][0]
    shard.write_bytes(sound)
    (folder / "part-99999-feedbeef.parquet").write_bytes(sound)
    assert "not part of this corpus" in cli("verify", str(corpus[0])).stdout
    (folder / "part-99999-feedbeef.parquet").unlink()


def test_the_committed_schema_is_the_one_of_the_code(cli):
    committed = MANIFEST.parent / "manifest.schema.json"
    assert json.loads(committed.read_text()) == json.loads(cli("schema").stdout)
