"""One conformance suite for every executor, and the scheduler's promises on top of it."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from corpus.commit import finished_task
from corpus.errors import RunError, StageError
from corpus.ledger import Count, Ledger
from corpus.shards import write_table
from pipeline.executors import LocalExecutor, RayExecutor
from pipeline.scheduler import Scheduler
from pipeline.task import Context, Place, Result, Search, Task, Written, task_key

ROWS = 8


def write_rows(payload: dict, context: Context) -> Result:
    """Task function: writes the rows it is given; dies at the poisonous ones unless they are to be skipped."""
    low, high = context.search.only or (0, payload["rows"])
    rows = [row for row in range(low, min(high, payload["rows"])) if row not in context.search.skip]
    if set(rows) & set(payload.get("poison", ())):
        os.kill(os.getpid(), signal.SIGKILL)
    marker = payload.get("die_once")
    if marker and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if payload.get("raises"):
        raise StageError("the stage is broken", where="stage x", fix="mend it")
    path = context.staging / "live.parquet"
    write_table(path, pa.table({"row": rows}))
    return Result(
        files={"live": Written(path, len(rows))},
        ledger=Ledger(read=Count(len(rows)), kept=Count(len(rows))),
        facts={"pid": os.getpid() if payload.get("tells") else 0, "rows": rows},
        seconds={"work": 0.0},
    )


@pytest.fixture(scope="module")
def ray_cluster():
    import ray

    with RayExecutor(workers=2, dashboard=False):
        yield
    assert not ray.is_initialized()


@pytest.fixture(params=["local", "ray"])
def executor(request):
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    chosen = LocalExecutor(workers=2) if request.param == "local" else RayExecutor(workers=2, dashboard=False)
    with chosen as entered:
        yield entered


class Log:
    """A watcher that remembers."""

    def __init__(self):
        self.done, self.resumed, self.troubles = [], 0, []

    def run_started(self, plan, executor): ...
    def phase_started(self, phase, total): ...
    def phase_finished(self, phase): ...

    def task_done(self, phase, record, seconds, *, resumed):
        self.done.append(record.label)
        self.resumed += resumed
        assert "total" in seconds

    def trouble(self, phase, label, message):
        self.troubles.append(message)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def scheduler(executor, tmp_path, log):
    return Scheduler(executor, Place(str(tmp_path / "out")), log, max_attempts=1)


def task(label, **payload):
    payload = {"rows": ROWS, **payload}
    return Task("phase", label, task_key(label), write_rows, payload, searchable=True)


@pytest.fixture(autouse=True)
def only_count(monkeypatch):
    # the probe that counts rows belongs to segments; these tasks carry their number of rows
    monkeypatch.setattr(Scheduler, "_probe_rows", lambda self, task: task.payload["rows"])


def test_records_come_back_in_the_order_of_the_tasks(scheduler, log):
    labels = [f"unit {i}" for i in range(12)]
    records = scheduler.run_phase("phase", [task(label) for label in labels])
    assert [record.label for record in records] == labels
    assert sorted(log.done) == sorted(labels)
    assert not log.resumed


def test_finished_tasks_are_not_done_again(scheduler, log):
    tasks = [task(f"unit {i}") for i in range(4)]
    first = scheduler.run_phase("phase", tasks[:3])
    assert scheduler.run_phase("phase", tasks)[:3] == first
    assert log.resumed == 3


def test_an_error_in_a_task_fails_the_run_with_the_words_of_the_stage(scheduler):
    with pytest.raises(StageError, match="the stage is broken") as caught:
        scheduler.run_phase("phase", [task("good"), task("bad", raises=True)])
    assert caught.value.fix == "mend it"


def test_a_task_whose_worker_dies_is_tried_again_and_the_others_do_not_notice(scheduler, log, tmp_path):
    scheduler.max_attempts = 2
    tasks = [task("fragile", die_once=str(tmp_path / "marker")), *(task(f"unit {i}") for i in range(4))]
    records = scheduler.run_phase("phase", tasks)
    assert [record.facts["rows"] for record in records] == [list(range(ROWS))] * 5
    assert len(log.troubles) == 1


@pytest.mark.parametrize("poison", [(0,), (ROWS - 1,), (3, 4)])
def test_the_documents_that_kill_their_worker_are_found_and_only_they_are_left_out(scheduler, poison):
    scheduler.max_quarantined_share = 0.5
    (record, other) = scheduler.run_phase("phase", [task("sick", poison=poison), task("well")])
    assert record.facts["rows"] == [row for row in range(ROWS) if row not in poison]
    assert other.facts["rows"] == list(range(ROWS))


def affine(label, affinity, **payload):
    given = {"rows": ROWS, "tells": True, **payload}
    return Task("phase", label, task_key(label), write_rows, given, affinity=affinity)


def test_tasks_of_one_affinity_share_a_long_lived_worker_under_ray(scheduler, executor):
    tasks = [affine(f"{name} {i}", name) for i in range(4) for name in ("one", "two", "three")]
    records = scheduler.run_phase("phase", tasks)
    assert [record.facts["rows"] for record in records] == [list(range(ROWS))] * 12
    workers = {
        name: {record.facts["pid"] for record in records if record.label.startswith(name)}
        for name in ("one", "two", "three")
    }
    if isinstance(executor, RayExecutor):
        assert all(len(pids) == 1 for pids in workers.values())
        assert len(set.union(*workers.values())) <= executor.slots


def test_a_long_lived_worker_that_dies_is_replaced(scheduler, log, tmp_path):
    scheduler.max_attempts = 3
    fragile = affine("fragile", "one", die_once=str(tmp_path / "marker"))
    records = scheduler.run_phase("phase", [fragile, *(affine(f"unit {i}", "one") for i in range(4))])
    assert [record.facts["rows"] for record in records] == [list(range(ROWS))] * 5
    assert log.troubles


def test_a_flood_of_killers_fails_the_run(scheduler):
    with pytest.raises(RunError, match="not the documents' fault"):
        scheduler.run_phase("phase", [task("doomed", rows=3, poison=(0, 1, 2))])


def test_a_task_that_cannot_be_searched_fails_the_run_after_bounded_tries(scheduler, log):
    scheduler.max_attempts = 2
    doomed = Task("phase", "shuffle", task_key("s"), write_rows, {"rows": 4, "poison": (1,)})
    with pytest.raises(RunError, match="died 2 times"):
        scheduler.run_phase("phase", [doomed])
    assert len(log.troubles) == 2


def test_a_probe_leaves_nothing_behind(executor, tmp_path):
    place = Place(str(tmp_path / "out"))
    probe = task("unit").searching(Search(only=(0, 5)))
    executor.submit(probe, place)
    outcome = executor.next_outcome()
    assert outcome.report is not None
    assert (outcome.report.record, outcome.report.rows) == (None, 5)
    assert finished_task(place.open(), "phase", probe.key) is None
    assert place.open().names(".work") == []


def test_a_ray_started_here_listens_on_loopback_only(ray_cluster):
    # every server that this process and its children hold; Ray was imported before the executor came
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = {
        (process.name(), link.laddr.ip.removeprefix("::ffff:"))
        for process in family
        for link in process.net_connections(kind="inet")
        if link.status == psutil.CONN_LISTEN
    }
    assert any(name.startswith("gcs_server") for name, _ in listening)
    assert {ip for _, ip in listening} == {"127.0.0.1"}


def test_ray_exports_the_ledger_as_metrics(ray_cluster):
    import ray

    ledger = Ledger(read=Count(9, 90), kept=Count(4, 40), rejected={"gopher/word_count@1": Count(5, 50)})
    with RayExecutor(workers=2, dashboard=False) as executor:
        executor.observe("documents", ledger.close(where="test"))
        port = ray.nodes()[0]["MetricsExportPort"]
        wanted = {'outcome="kept"': 4.0, 'outcome="rejected"': 5.0}
        deadline = time.monotonic() + 60  # the agent collects every few seconds
        found = {}
        while found != wanted and time.monotonic() < deadline:
            found = metric_values(port, "ray_pipeline_documents", wanted)
    assert found == wanted


def metric_values(port, name, labels):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith(name)]
    return {label: float(line.rpartition(" ")[2]) for label in labels for line in lines if label in line}
