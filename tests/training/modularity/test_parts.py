"""Parts are done once, by one rank, and read by all."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from training.modularity.parts import Part, Parts
from training.ranks import Ranks


@dataclass(frozen=True)
class Thread(Ranks):
    """A rank that is a thread."""

    gate: threading.Barrier

    def barrier(self) -> None:
        self.gate.wait(timeout=30)


def parts(folder, ranks=None, lines=None):
    ranks = ranks or Ranks(0, 1, torch.device("cpu"))
    return Parts(folder / "analysis" / "parts", "analysis", ranks, (lines if lines is not None else []).append)


def made(name, value, log, depends=()):
    def make():
        log.append(name)
        return value

    return Part(name, depends, make)


def test_arrays_and_figures_come_back_as_they_were(tmp_path):
    log = []
    values = [np.arange(6.0).reshape(2, 3), {"a": [1, None, 0.1]}]
    work = [made("one/../part of 'x'", values[0], log), made("two", values[1], log)]
    lines = []
    for _ in range(2):
        array, figures = parts(tmp_path, lines=lines).finish(work)
        assert np.array_equal(array, values[0])
        assert figures == values[1]
    assert log == ["one/../part of 'x'", "two"]
    assert [line["told"] for line in lines] == log
    written = (tmp_path / "analysis" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in written] == [1, 2]
    assert all(path.parent == tmp_path / "analysis" / "parts" for path in tmp_path.rglob("*.npy"))


def test_what_a_part_depends_on_is_part_of_its_name(tmp_path):
    log = []
    for depends in ([1, "a"], [2, "a"], [1, "a"]):
        parts(tmp_path).finish([made("part", {}, log, depends)])
    assert len(log) == 2


def test_a_part_that_fails_leaves_nothing_and_the_ones_before_stay(tmp_path):
    log = []

    def fail():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        parts(tmp_path).finish([made("first", {"a": 1}, log), Part("second", (), fail)])
    assert parts(tmp_path).finish([made("first", {}, log), made("second", {"b": 2}, log)]) == [{"a": 1}, {"b": 2}]
    assert log == ["first", "second"]


def test_ranks_share_parts_and_all_get_all(tmp_path):
    gate, log = threading.Barrier(2), []
    work = [made(f"part {number}", {"n": number}, log) for number in range(5)]

    def run(rank):
        return parts(tmp_path, Thread(rank, 2, torch.device("cpu"), gate)).finish(work)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(run, range(2)))
    assert found[0] == found[1] == [{"n": number} for number in range(5)]
    assert sorted(log) == [part.name for part in work]
