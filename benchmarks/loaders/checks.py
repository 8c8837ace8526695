"""What is decided by doing it: each check runs a candidate and compares digests of the rows that it gave.

The answer is ``yes``, or ``no`` with what happened instead.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.loaders.measure import Bench, ChildError, kill

BATCH = 8
"""Rows of a global batch in these checks: enough for four ranks."""
WORLDS = (1, 2, 4)
KILL_AFTER = 11
MORE = 6
SHARED_MEMORY = Path("/dev/shm")
"""Where a killed process can leave what the next one stumbles over."""
Rows = list[list[str]]


def survives_kill(bench: Bench, candidate: str) -> str:
    """SIGKILL while training; a new process goes on from the last saved state and gives what would have come."""
    with tempfile.TemporaryDirectory() as place:
        log, saved = Path(place) / "log", Path(place) / "last.state"
        before = set(SHARED_MEMORY.iterdir())
        whole: Rows = bench.ask(candidate, "run", batch=BATCH, steps=KILL_AFTER + MORE + 20)
        order = bench.order(candidate, "train", batch=BATCH, log=str(log), save=str(saved))
        with bench.started(order) as child:
            while child.poll() is None and (not log.exists() or log.read_text().count("\n") < KILL_AFTER):
                time.sleep(0.01)
            kill(child)
        left = len(set(SHARED_MEMORY.iterdir()) - before)
        seen: Rows = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("]")]
        step = int(saved.with_suffix(".step").read_text())
        went_on: Rows = bench.ask(candidate, "run", batch=BATCH, steps=MORE, state=str(saved))
    if seen != whole[: len(seen)]:
        return "no: two runs with one seed differ"
    verdict = compare(went_on, whole[step + 1 : step + 1 + MORE])
    return f"{verdict}{'; ' if ':' in verdict else ': '}{left} names left in {SHARED_MEMORY}" if left else verdict


def same_in_other_worlds(bench: Bench, candidate: str) -> str:
    """A state saved by one process is continued by 1, 2 and 4; the global batches of every step are equal as sets."""
    with tempfile.TemporaryDirectory() as place:
        saved = str(Path(place) / "one.state")
        bench.ask(candidate, "run", batch=BATCH, steps=3, save=saved)
        found: list[Rows] = []
        for world in WORLDS:
            try:
                ranks = bench.ask_ranks(candidate, "run", world, batch=BATCH, steps=MORE, state=saved)
            except ChildError as error:
                return f"no: {world} processes: {error}"
            steps = {len(rank) for rank in ranks}
            if steps != {MORE}:
                return f"no: {world} processes saw {sorted(steps)} steps"
            found.append([sorted(row for rank in ranks for row in rank[step]) for step in range(MORE)])
    for world, rows in zip(WORLDS[1:], found[1:], strict=True):
        if rows != found[0]:
            return f"no: {world} processes: {compare(rows, found[0]).removeprefix('no: ')}"
    return "yes"


def changes_weights(bench: Bench, candidate: str) -> str:
    """Weights turned round from a named step while running: before it the old mix, from it the new, on resume too."""
    told, at, steps = 1, 16, 32
    names, old = list(bench.weights), list(bench.weights.values())
    new = dict(zip(names, reversed(old), strict=True))
    with tempfile.TemporaryDirectory() as place:
        saved = str(Path(place) / "told.state")
        order: dict[str, Any] = {"batch": BATCH, "told": told, "at": at, "new": new, "steps": steps, "save": saved}
        found = bench.ask(candidate, "weigh", **order)
        if "no" in found:
            return f"no: {found['no']}"
        again: Rows = bench.ask(candidate, "run", batch=BATCH, steps=steps - told - 1, state=saved)
    for part, weights in ((found["domains"][:at], old), (found["domains"][at:], list(new.values()))):
        counts = [sum(step.count(number) for step in part) for number in range(len(names))]
        # a row more or less on either side of the change
        if any(abs(count - weight * BATCH * len(part)) > 2 for count, weight in zip(counts, weights, strict=True)):
            return f"no: rows per domain {counts} under {weights}"
    return compare(again, found["rows"][told + 1 :])


def compare(found: Rows, expected: Rows) -> str:
    """``yes`` where rows are equal step by step, else what is wrong with them."""
    if found == expected:
        return "yes"
    wrong = [step for step, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b]
    if not wrong:
        return f"no: {len(found)} steps instead of {len(expected)}"
    there = {row for step in expected for row in step}
    strange = sum(row not in there for step in found for row in step)
    return f"no: {len(wrong)} of {len(expected)} steps differ, {strange} of {sum(map(len, found))} rows are others"


CHECKS: dict[str, Callable[[Bench, str], str]] = {
    "kill and resume": survives_kill,
    "other world size": same_in_other_worlds,
    "weights at a step": changes_weights,
}


def run_checks(bench: Bench, candidate: str, names: Sequence[str] = tuple(CHECKS)) -> dict[str, str]:
    """All checks of one candidate."""
    found = {}
    for name in names:
        try:
            found[name] = CHECKS[name](bench, candidate)
        except ChildError as error:
            found[name] = f"no: {error}"
    return found
