"""Servers in Ray actors. The GPUs are numbers that Ray was told: what is tested is who holds them, and for how long."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from corpus.errors import ModelError
from llm.client import Client, Generation, Message, Request
from llm.config import Endpoint, Sampling, Serve
from pipeline.serving import served

COMMAND = [sys.executable, str(Path(__file__).parents[1] / "llm" / "stand_in.py")]


@pytest.fixture(scope="module")
def two_gpus() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def config(**changes: Any) -> Serve:
    return Serve(**({"model": "anything", "gpus": 1, "start_timeout_s": 60} | changes))


def who(endpoint: Endpoint, *, requests: int = 1) -> list[dict[str, Any]]:
    patient = endpoint.model_copy(update={"attempts": 20, "backoff_s": 0.2})
    wanted = [Request((Message("user", f"q{i}"),), Sampling()) for i in range(requests)]
    return [json.loads(a.text) for a in Client(patient).generate(wanted) if isinstance(a, Generation)]


@pytest.mark.usefixtures("two_gpus")
def test_each_replica_holds_its_gpus_while_it_serves_and_comes_back_when_killed() -> None:
    import ray

    with served(config(replicas=2), command=COMMAND) as endpoint:
        assert ray.available_resources().get("GPU", 0) == 0
        answers = who(endpoint, requests=40)
        pids = {answer["pid"] for answer in answers}
        assert len(pids) == 2
        os.kill(min(pids), signal.SIGKILL)
        again = {answer["pid"] for answer in who(endpoint.model_copy(update={"urls": endpoint.urls[:1]}))}
        again |= {answer["pid"] for answer in who(endpoint.model_copy(update={"urls": endpoint.urls[1:]}))}
        assert len(again) == 2
        assert min(pids) not in again
    assert not any(psutil.pid_exists(pid) for pid in pids | again)


@pytest.mark.usefixtures("two_gpus")
def test_more_gpus_than_there_are_is_an_error_at_once() -> None:
    with pytest.raises(ModelError, match="need 6 GPUs, the cluster has 2"), served(config(gpus=3, replicas=2)):
        pass
    with (
        pytest.raises(ModelError, match="no room on the device"),
        served(config(), command=[*COMMAND, "--dies=starting"]),
    ):
        pass


def test_without_gpus_or_ray_servers_run_beside_the_driver() -> None:
    with served(config(gpus=0), command=COMMAND) as endpoint:
        (answer,) = who(endpoint)
        assert psutil.Process(answer["pid"]).parent() == psutil.Process()
