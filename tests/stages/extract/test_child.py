"""The killable child: whatever a request does to it, the answer is an outcome and the next request is served."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.errors import StageError
from stages.extract.child import Child, Overrun

VICTIM = """
    import ctypes, os, signal, subprocess, sys, time

    def serve(request):
        do = request["do"]
        if do == "spin":
            while True:
                pass
        if do == "sleep":
            signal.pause()
        if do == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if do == "exit":
            os._exit(3)
        if do == "allocate":
            return {"size": len(bytearray(8 << 30))}
        if do == "print":
            print("noise on stdout", flush=True)
            os.write(1, b"more noise")
            subprocess.run(["echo", "noise of a grandchild"], check=True)
        if do == "raise":
            raise ValueError("no such luck")
        if do == "grandchild":
            return {"pid": subprocess.Popen(["sleep", "1000"]).pid}
        if do == "close":
            os.closerange(3, 64)
            signal.pause()
        return {"echo": request.get("text"), "pid": os.getpid()}
"""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("victim")
    (folder / "child_victim.py").write_text(textwrap.dedent(VICTIM))
    sys.path.insert(0, str(folder))
    yield "child_victim:serve"
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def child(victim: str) -> Iterator[Child]:
    with Child(victim, cpu_seconds=0.2, memory=1 << 30, wall_seconds=60) as process:
        yield process


def pid_of(child: Child) -> int:
    return int(child.ask({"do": "echo"})["pid"])


@pytest.mark.parametrize(
    ("do", "cause"),
    [("spin", "cpu"), ("segfault", "crash"), ("exit", "crash"), ("allocate", "memory"), ("raise", "error")],
)
def test_a_bad_request_is_named_and_the_next_one_is_served(child: Child, do: str, cause: str) -> None:
    with pytest.raises(Overrun) as caught:
        child.ask({"do": do})
    assert caught.value.cause == cause
    assert child.ask({"do": "echo", "text": "still here"})["echo"] == "still here"


@pytest.mark.parametrize("do", ["sleep", "close"])
def test_a_child_that_never_answers_is_ended_by_the_wall_clock(victim: str, do: str) -> None:
    with Child(victim, wall_seconds=0.3) as child:
        child.ask({"do": "echo"})
        with pytest.raises(Overrun) as caught:
            child.ask({"do": do})
        assert caught.value.cause == ("wall" if do == "sleep" else caught.value.cause)
        child.wall_seconds = 60
        assert child.ask({"do": "echo", "text": "again"})["echo"] == "again"


def test_what_a_library_prints_does_not_get_into_the_answers(child: Child) -> None:
    assert child.ask({"do": "print", "text": "clean"})["echo"] == "clean"


def test_any_string_and_large_ones_come_through_unchanged(child: Child) -> None:
    text = "lone \ud800 surrogate, NUL \x00, line\u2028 separator, " + "long " * 300_000
    assert child.ask({"do": "echo", "text": text})["echo"] == text


def test_the_cpu_clock_starts_anew_for_every_request(child: Child) -> None:
    text = "x" * 3_000_000
    for _ in range(30):
        assert len(child.ask({"do": "echo", "text": text})["echo"]) == len(text)


def test_the_child_is_replaced_after_so_many_requests(victim: str) -> None:
    with Child(victim, recycle=2) as child:
        assert pid_of(child) == pid_of(child)
        before = pid_of(child)
        pid_of(child)
        assert pid_of(child) != before


def test_offspring_of_the_child_dies_with_it(victim: str) -> None:
    with Child(victim) as child:
        grandchild = int(child.ask({"do": "grandchild"})["pid"])
        leader = pid_of(child)
        assert os.getpgid(grandchild) == leader
    with pytest.raises(ProcessLookupError):
        os.killpg(leader, 0) if _group_is_gone(leader) else None
        raise ProcessLookupError


def _group_is_gone(leader: int) -> bool:
    return not any(_is_alive_in(Path(entry), leader) for entry in Path("/proc").glob("[0-9]*"))


def _is_alive_in(entry: Path, group: int) -> bool:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z" and int(fields[2]) == group


def test_the_child_dies_with_its_parent(victim: str) -> None:
    program = textwrap.dedent(
        f"""
        import os, signal
        from stages.extract.child import Child
        print(Child({victim!r}).ask({{"do": "echo"}})["pid"], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    child = Path("/proc") / done.stdout.decode().strip() / "stat"
    for _ in range(1000):
        if not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        threading.Event().wait(0.01)
    pytest.fail("the child outlived its parent")


def test_a_child_killed_from_outside_is_replaced_and_the_request_repeated(child: Child) -> None:
    os.kill(pid_of(child), signal.SIGKILL)
    assert child.ask({"do": "echo", "text": "second life"})["echo"] == "second life"


def test_several_threads_may_share_a_child(child: Child) -> None:
    answers: list[str] = []

    def ask(word: str) -> None:
        answers.append(child.ask({"do": "echo", "text": word})["echo"])

    threads = [threading.Thread(target=ask, args=(str(at),)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [str(at) for at in range(8)]


def test_a_child_that_cannot_start_is_a_stage_error_with_the_command_to_look_at() -> None:
    with pytest.raises(StageError, match="does not start") as caught:
        Child("no_such_module:serve").ask({"do": "echo"})
    assert "stages.extract.child_main" in caught.value.fix


def test_an_overrun_reads_well_and_keeps_its_cause() -> None:
    overrun = Overrun("cpu", "more than 10 s of CPU time")
    assert str(overrun) == "cpu: more than 10 s of CPU time"
    assert pickle.dumps(overrun.args)
