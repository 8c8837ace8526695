"""The life of servers: started, asked, killed, started again, stopped with everything that they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from corpus.errors import ModelError
from llm.client import Client, Generation, Message, Request
from llm.config import Endpoint, Sampling, Serve
from llm.launch import PYTHON, child_environment, shares_of_gpus
from llm.server import VllmServer, serve

COMMAND = [sys.executable, str(Path(__file__).with_name("stand_in.py"))]


def config(**changes: Any) -> Serve:
    return Serve(**({"model": "anything", "gpus": 0, "start_timeout_s": 30} | changes))


def who(endpoint: Endpoint, *, requests: int = 1) -> list[dict[str, Any]]:
    import json

    patient = endpoint.model_copy(update={"attempts": 20, "backoff_s": 0.2})
    wanted = [Request((Message("user", f"q{i}"),), Sampling()) for i in range(requests)]
    return [json.loads(a.text) for a in Client(patient).generate(wanted) if isinstance(a, Generation)]


def test_replicas_share_the_work_and_are_gone_afterwards() -> None:
    with serve(config(replicas=2), command=COMMAND) as endpoint:
        Client(endpoint).check()
        pids = {answer["pid"] for answer in who(endpoint, requests=40)}
        assert len(pids) == 2
        assert all(psutil.pid_exists(pid) for pid in pids)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_server_that_is_killed_comes_back_at_the_same_address() -> None:
    with serve(config(), command=COMMAND) as endpoint:
        (first,) = who(endpoint)
        os.kill(first["pid"], signal.SIGKILL)
        (second,) = who(endpoint)
    assert first["pid"] != second["pid"]


def test_children_of_a_server_do_not_outlive_it(tmp_path: Path) -> None:
    server = VllmServer(config(), command=[*COMMAND, f"--child={tmp_path / 'child'}"])
    server.start()
    child = psutil.Process(int((tmp_path / "child").read_text()))
    assert child.is_running()
    server.stop()
    gone, alive = psutil.wait_procs([child], timeout=20)
    assert (len(gone), alive) == (1, [])
    assert not server.alive()


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    server = VllmServer(config(), command=[*COMMAND, "--dies=starting"])
    with pytest.raises(ModelError, match="no room on the device"):
        server.start()
    with pytest.raises(ModelError, match="cannot be started"):
        VllmServer(config(), command=["/nonexistent/python"]).start()
    monkeypatch.setenv(PYTHON, sys.executable)
    with pytest.raises(ModelError, match="exit code"), serve(config()):
        pass  # this environment has no vLLM


def test_a_server_that_dies_for_good_is_the_error_that_is_shown() -> None:
    with (
        pytest.raises(ModelError, match="a server has died 1 times"),
        serve(config(restarts=0), command=COMMAND) as found,
    ):
        (answer,) = who(found)
        process = psutil.Process(answer["pid"])
        process.kill()
        process.wait()
        impatient = found.model_copy(update={"attempts": 2, "backoff_s": 0.01, "concurrency": 1})
        Client(impatient).generate([Request((Message("user", "q"),), Sampling())])


PARENT = """
import sys
from llm.config import Serve
from llm.server import VllmServer
server = VllmServer(Serve(model="anything", gpus=0, start_timeout_s=30), command=sys.argv[1:])
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_a_server_does_not_outlive_a_parent_that_is_killed() -> None:
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *COMMAND], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        assert server.is_running()
        parent.kill()
    gone, alive = psutil.wait_procs([server], timeout=20)
    assert (len(gone), alive) == (1, [])


def test_the_end_does_not_wait_for_a_server_that_is_being_started_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ear:
        ear.settimeout(30)
        command = [*COMMAND, f"--once={tmp_path / 'once'}", f"--tell={ear.getsockname()[1]}"]
        began = time.monotonic()
        with serve(config(start_timeout_s=600), command=command) as endpoint:
            (answer,) = who(endpoint)
            os.kill(answer["pid"], signal.SIGKILL)
            ear.accept()[0].close()  # the second start has begun, and will not be ready in ten minutes
        assert time.monotonic() - began < 60


def test_replicas_share_the_gpus_and_too_few_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,GPU-a,GPU-b,7")
    assert shares_of_gpus(config(gpus=2, replicas=2)) == [["4", "5"], ["GPU-a", "GPU-b"]]
    assert shares_of_gpus(config(gpus=2)) == [None]
    with pytest.raises(ModelError, match="3 replicas of 2 GPUs need 6, CUDA_VISIBLE_DEVICES has 5"):
        shares_of_gpus(config(gpus=2, replicas=3))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert shares_of_gpus(config(gpus=1, replicas=2)) == [["0"], ["1"]]
    assert child_environment(config(gpus=1), ["1"])["CUDA_VISIBLE_DEVICES"] == "1"


def test_secrets_stay_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CANARY_API_KEY", "CANARY_TOKEN", "CANARY_PASSWORD", "AWS_SECRET_CANARY"):
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("CANARY_PLAIN", "kept")
    with serve(config(), command=COMMAND) as endpoint:
        (answer,) = who(endpoint)
    assert "CANARY_PLAIN" in answer["environment"]
    assert not {"CANARY_API_KEY", "CANARY_TOKEN", "CANARY_PASSWORD", "AWS_SECRET_CANARY"} & set(answer["environment"])
    assert {"HF_HUB_OFFLINE", "VLLM_NO_USAGE_STATS", "VLLM_TARGET_DEVICE"} <= set(answer["environment"])
    assert "VLLM_TARGET_DEVICE" not in child_environment(config(gpus=1))


ARGUMENTS = ["--host=0.0.0.0", "--port=1", "--api-key=x", "model", "; ls", "--trust-remote-code", "--load-format=pt"]


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_arguments_that_the_engine_sets_or_that_are_none_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match="arguments"):
        config(arguments=(argument,))
