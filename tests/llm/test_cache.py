"""The file of answers: killed processes, two at a time, damage."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.errors import StorageError
from llm.cache import ResponseCache
from llm.client import Generation

WRITER = """
import sys
from pathlib import Path
from llm.cache import ResponseCache
from llm.client import Generation
sys.stdin.readline()
cache = ResponseCache(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    cache.put(f"key {number}", Generation(f"answer {number}", None, "stop", 1, 1, "tiny", "fake", 0))
    print(number, flush=True)
"""
ANSWER = Generation("text \u20ac", None, "stop", 3, 4, "tiny", "fake-1", 9)


def writer(path: Path, start: int, end: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(start), str(end)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_an_answer_comes_back_as_it_was_and_the_first_one_stays(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "deep" / "answers.sqlite")
    assert cache.get("a") is None
    cache.put("a", ANSWER)
    cache.put("a", Generation("later", None, "stop", 0, 0, "tiny", "", 0))
    assert cache.get("a") == ANSWER


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with writer(path, 0, 60) as first, writer(path, 30, 90) as second:
        go(first)
        go(second)
        for process in (first, second):
            process.communicate()
        assert (first.returncode, second.returncode) == (0, 0)
    cache = ResponseCache(path)
    found = [cache.get(f"key {number}") for number in range(90)]
    assert [answer and answer.text for answer in found] == [f"answer {number}" for number in range(90)]


def test_what_was_stored_before_a_kill_is_there_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with writer(path, 0, 1_000_000) as process:
        go(process)
        assert process.stdout is not None
        last = [int(process.stdout.readline()) for _ in range(50)][-1]
        process.kill()
    cache = ResponseCache(path)
    assert all(cache.get(f"key {number}") is not None for number in range(last + 1))
    cache.put("after", ANSWER)
    assert cache.get("after") == ANSWER


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="delete it"):
        ResponseCache(path)
    path.unlink()
    cache = ResponseCache(path)
    with sqlite3.connect(path) as base:
        base.execute("INSERT INTO answers VALUES ('a', '{')")
    base.close()
    with pytest.raises(StorageError, match="delete it") as found:
        cache.get("a")
    assert "answers.sqlite" in str(found.value)


def test_a_disk_that_cannot_be_written_to_is_no_reason_to_delete_answers(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="folder that can be written to"):
        ResponseCache(tmp_path / "file" / "answers.sqlite")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="room and rights") as found:
        ResponseCache(tmp_path / "folder")  # SQLite cannot open it
    assert "delete" not in str(found.value)
