"""A hostile stranger: manifests made to hurt, damaged corpora, signals, full disks, rivals, terminal escapes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import ManifestError
from pipeline.cli import main
from pipeline.manifest import apply_override, load_manifest
from pipeline.yaml_source import parse_yaml

ROOT = Path(__file__).parents[2]
ESCAPES = "\x1b]0;owned\x07\x1b[31mred\x1b[0m[bold]markup[/bold]\u202egnp.exe"
VALID = "name: t\nsource: {paths: [a]}\noutput: {path: b}\n"
RULED = [{"kind": "signals"}, {"kind": "rules", "rulesets": ["gopher"]}, {"kind": "dedup"}]


def arguments(folder: Path, out: Path, *settings_: str) -> list[str]:
    """A run over a small collection of texts, one of them aimed at the terminal."""
    texts = folder / "a.jsonl"
    if not texts.exists():
        rows = [{"id": f"d{i}", "url": f"https://e{i}.example/", "text": f"Page {i} says little."} for i in range(40)]
        rows.append({"id": "trap", "url": f"https://trap.example/{ESCAPES}", "text": ESCAPES})
        texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = {"name": "t", "source": {"paths": [str(texts)]}, "output": {"path": str(out)}, "stages": RULED}
    manifest["executor"] = {"kind": "local", "workers": 1}
    (folder / "m.yaml").write_text(json.dumps(manifest))
    return ["run", str(folder / "m.yaml"), "--json", *(part for value in settings_ for part in ("--set", value))]


@pytest.fixture(scope="module")
def sound(cli, tmp_path_factory):
    """A published corpus and the arguments that made it."""
    folder = tmp_path_factory.mktemp("hostile")
    made = arguments(folder, folder / "out")
    done = cli(*made)
    assert done.code == 0, done.stderr
    return folder / "out", made, done.result


@pytest.fixture
def copy(sound, tmp_path):
    """A copy of the corpus to damage, with its hard links, and the arguments that go on with it."""
    subprocess.run(["cp", "-a", str(sound[0]), str(tmp_path / "out")], check=True)
    return tmp_path / "out", [*sound[1], "--set", f"output.path={tmp_path / 'out'}"]


@pytest.fixture
def ask(capsys):
    """The command line in this process: fast, and an exception that is no message shows itself."""

    def call(*words: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def flip(path: Path, at: int = -9) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


# manifests


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\nb: [*a, *a]",
        VALID + "\tstages: []",
        VALID + "---\n" + VALID,
        VALID + "? [a]\n: b",
        VALID + "1: 2",
        VALID + "<<: {a: 1}",
        VALID + "stages: ~",
        VALID + "stages: [x]",
        VALID + "stages: [{kind: [a]}]",
        "[" * 300,
        "",
        "- a",
        VALID.replace("name: t", "name: ../../etc"),
        VALID.replace("name: t", "name: 'ünï'"),
        VALID.replace("{paths: [a]}", "{paths: [a], storage_options: {aws_secret_access_key: x}}"),
    ],
)
def test_a_hostile_manifest_is_refused_with_a_message(tmp_path, text):
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ManifestError):
        load_manifest(tmp_path / "m.yaml")


@pytest.mark.parametrize(
    "text",
    [
        VALID.replace("name: t", "name: 2024-13-45"),
        VALID + "# \0",
        VALID + "# \x07",
        VALID + "stages: " + "1" * 5000,
        VALID + "stages: !!int abc",
        VALID + "stages: !!float abc",
        VALID + "stages: " + "[" * 1200 + "]" * 1200,
    ],
)
def test_a_value_that_cannot_be_is_refused_with_a_message(tmp_path, text):
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ManifestError):
        load_manifest(tmp_path / "m.yaml")


def test_a_manifest_of_two_megabytes_is_refused_unread(tmp_path):
    (tmp_path / "m.yaml").write_text(VALID + "#" + "x" * (2 << 20))
    with pytest.raises(ManifestError, match="larger than"):
        load_manifest(tmp_path / "m.yaml")


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.sampled_from("ab:-[]{}#&*!?|>'\"% \n\t"), max_size=40))
def test_any_text_is_a_manifest_or_an_error_with_a_place(text):
    try:
        parse_yaml(text, "m.yaml")
    except ManifestError as error:
        assert "m.yaml" in error.where


@pytest.mark.parametrize("override", ["=x", "a.b", "stages.-1=1", "stages.7=1", "stages.nothing=1", "a..b=1", "."])
def test_an_override_that_points_nowhere_is_refused(override):
    with pytest.raises(ManifestError):
        apply_override({"stages": [{"kind": "dedup"}]}, override)


@pytest.mark.parametrize("override", ["name.x=1", "stages.²=1", "stages.0.kind.x=1"])
def test_an_override_inside_a_plain_value_is_refused(override):
    with pytest.raises(ManifestError):
        apply_override({"name": "t", "stages": [{"kind": "dedup"}]}, override)


@pytest.mark.parametrize(
    "override", ["output.storage_options={client_kwargs: {aws_secret_access_key: x}}", "output.path="]
)
def test_an_output_with_a_secret_or_without_a_path_is_refused(tmp_path, override):
    (tmp_path / "m.yaml").write_text(VALID)
    with pytest.raises(ManifestError):
        load_manifest(tmp_path / "m.yaml", [override])


# damaged corpora


@pytest.mark.parametrize(
    ("damage", "how"), [("live.parquet", "delete"), ("task.json", "delete"), ("task.json", "truncate")]
)
def test_work_that_is_missing_or_torn_is_done_again(cli, sound, copy, damage, how):
    out, again = copy
    victim = next(out.glob(f".work/documents/*/{damage}"))
    victim.unlink() if how == "delete" else os.truncate(victim, victim.stat().st_size // 2)
    done = cli(*again)
    assert done.code == 0, done.stderr
    assert done.result["digest"] == sound[2]["digest"]
    assert victim.is_file()


@pytest.mark.parametrize("current", [b"../../etc/passwd", b"\0", b"", b"0" * 64, None])
def test_a_pointer_that_was_tampered_with_is_reported_and_repaired_by_a_run(ask, cli, copy, current):
    out, again = copy
    (out / "CURRENT").unlink() if current is None else (out / "CURRENT").write_bytes(current)
    for words in (("verify", str(out)), ("whatif", str(out)), ("explain", str(out), "d1")):
        code, _, said = ask(*words)
        assert code == 1
        assert said.startswith("error: ")
    if current is None:
        assert cli(*again).code == 0
        assert ask("verify", str(out))[0] == 0


def test_an_edited_manifest_is_reported(ask, copy):
    out, _ = copy
    path = next((out / "manifests").iterdir())
    assert '"rows":41' in path.read_text()
    path.write_text(path.read_text().replace('"rows":41', '"rows":40', 1))
    code, _, said = ask("verify", str(out))
    assert code == 1
    assert "was changed after it was written" in said


def test_a_lost_shard_is_put_back_by_a_run(ask, cli, sound, copy):
    out, again = copy
    next((out / "rejected").iterdir()).unlink()
    assert ask("verify", str(out))[0] == 1
    assert cli(*again).result["digest"] == sound[2]["digest"]
    assert ask("verify", str(out))[0] == 0


def test_a_rotten_shard_that_was_deleted_is_not_put_back_as_it_was(ask, cli, copy):
    out, again = copy
    shard = next((out / "rejected").iterdir())
    flip(shard)
    shard.unlink()
    done = cli(*again)
    assert "Traceback" not in done.stderr
    assert "is not the file that was written" in done.stderr or ask("verify", str(out))[0] == 0


@pytest.mark.parametrize("damage", ["truncate", "delete"])
@pytest.mark.parametrize("words", [("whatif",), ("explain", "d1")])
def test_questions_to_a_damaged_corpus_are_answered_with_a_message(ask, copy, damage, words):
    shard = next((copy[0] / "rejected").iterdir())
    shard.unlink() if damage == "delete" else os.truncate(shard, 100)
    code, _, said = ask(words[0], str(copy[0]), *words[1:])
    assert code == 1
    assert shard.name in said


def test_files_that_no_run_has_written_are_never_deleted(cli, tmp_path):
    theirs = [tmp_path / "out" / name for name in ("documents/thesis.txt", "rejected/sub/letter.txt")]
    for path in theirs:
        path.parent.mkdir(parents=True)
        path.write_text("irreplaceable")
    cli(*arguments(tmp_path, tmp_path / "out"))
    assert all(path.is_file() for path in theirs)


# rivals, signals, disks


def heed_interrupts() -> None:
    """A shell makes what it starts in the background deaf to SIGINT, these tests and their children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def spawn(words: list[str], **options: object) -> subprocess.Popen[str]:
    options.setdefault("preexec_fn", heed_interrupts)
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,  # type: ignore[call-overload]
    )


def test_of_two_drivers_on_one_output_one_wins_and_the_other_says_why_it_stops(ask, tmp_path, sound):
    words = arguments(tmp_path, tmp_path / "out")
    shutil.copy(sound[0].parent / "a.jsonl", tmp_path / "a.jsonl")
    rivals = [spawn(words), spawn(words)]
    ends = [(*rival.communicate(), rival.returncode) for rival in rivals]
    assert sorted(code for *_, code in ends) in ([0, 1], [0, 0])  # one after the other is fine too
    for _, said, code in ends:
        assert code == 0 or "another run is writing to this output" in said
    assert ask("verify", str(tmp_path / "out"))[0] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(cli, tmp_path, sound, number, code):
    words = arguments(tmp_path, tmp_path / "out")
    run = spawn(words)
    assert run.stderr is not None
    run.stderr.readline()  # "run ...": the first task is about to start
    run.send_signal(number)
    _, said = run.communicate()
    assert run.returncode == code
    assert "Traceback" not in said
    done = cli(*words)
    assert done.code == 0, done.stderr
    assert done.result["ledger"] == sound[2]["ledger"]
    assert cli("verify", str(tmp_path / "out")).code == 0


def test_a_full_disk_fails_the_run_and_a_later_one_succeeds(cli, tmp_path, sound):
    words = arguments(tmp_path, tmp_path / "out")

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    full = spawn(words, preexec_fn=small_files)
    _, said = full.communicate()
    assert full.returncode == 1
    assert "File too large" in said
    assert not (tmp_path / "out" / "CURRENT").exists()
    assert not list((tmp_path / "out").glob(".work/staging/*"))
    assert cli(*words).result["ledger"] == sound[2]["ledger"]


def test_an_output_path_that_is_a_file_is_refused_with_a_message(ask, tmp_path):
    (tmp_path / "out").write_text("a file")
    code, _, said = ask(*arguments(tmp_path, tmp_path / "out"))
    assert code == 1
    assert said.startswith("error: ")


# what is printed


def test_a_second_run_does_no_work_and_executor_settings_do_not_change_the_identity(cli, sound):
    before = {path: path.stat().st_mtime_ns for path in sound[0].glob(".work/*/*/*") if path.is_file()}
    again = cli(*sound[1], "--set", "executor.workers=2", "--set", "executor.max_attempts=5")
    assert (again.result["digest"], again.result["run_id"]) == (sound[2]["digest"], sound[2]["run_id"])
    assert {path: path.stat().st_mtime_ns for path in sound[0].glob(".work/*/*/*") if path.is_file()} == before


def test_text_aimed_at_the_terminal_is_shown_as_text(ask, sound):
    code, shown, _ = ask("explain", str(sound[0]), "trap")
    assert code == 0
    assert not set(shown) & {"\x1b", "\x07", "\u202e"}
    assert "[bold]markup[/bold]" in shown


@pytest.mark.parametrize("words", [("status",), ("whatif",), ("verify",), ("explain", "trap")])
def test_every_question_ends_with_one_json_object(ask, sound, words):
    code, shown, _ = ask(words[0], str(sound[0]), *words[1:], "--json")
    assert code == 0
    assert isinstance(json.loads(shown), dict)
    assert shown.count("\n") == 1


def test_questions_about_an_output_without_a_corpus_are_answered(ask, tmp_path):
    assert [
        ask(name, str(tmp_path / "none"), *more)[0]
        for name, *more in (("status",), ("verify",), ("whatif",), ("explain", "x"))
    ] == [3, 1, 1, 1]
    assert not (tmp_path / "none").exists()


def test_no_secret_of_the_environment_is_written_or_printed(cli, tmp_path):
    words = arguments(tmp_path, tmp_path / "out")
    done = cli(*words, AWS_SECRET_ACCESS_KEY="c4n4ry", AWS_SESSION_TOKEN="c4n4ry", HF_TOKEN="c4n4ry")
    assert done.code == 0
    assert "c4n4ry" not in done.stdout + done.stderr
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert b"c4n4ry" not in path.read_bytes()
        if path.suffix == ".parquet":
            assert "c4n4ry" not in str(pq.read_table(path).to_pydict())
