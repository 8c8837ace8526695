"""A real vLLM on CPU: `make test-vllm` installs it in an environment of its own and runs this."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm import launch
from llm.client import Client, Generation, Message, Request
from llm.config import Endpoint, Sampling, Serve
from llm.launch import served_name
from llm.server import serve

PYTHON = os.environ.get(launch.PYTHON, "")
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["n"],
    "additionalProperties": False,
}

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not PYTHON, reason="CORPUS_VLLM_PYTHON names no interpreter that has vLLM: make test-vllm"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    subprocess.run([PYTHON, str(Path(__file__).with_name("tiny_llama.py")), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def config(model: Path) -> Serve:
    return Serve(model=str(model), gpus=0, max_model_len=512, start_timeout_s=300)


@pytest.fixture(scope="module")
def endpoint(config: Serve) -> Iterator[Endpoint]:
    with serve(config) as found:
        yield found


def ask(text: str, tokens: int = 20, seed: int = 1, **wanted: object) -> Request:
    return Request((Message("user", text),), Sampling(seed=seed, max_tokens=tokens), **wanted)  # type: ignore[arg-type]


def test_many_questions_are_answered_and_the_engine_is_on_record(endpoint: Endpoint) -> None:
    client = Client(endpoint)
    client.check()
    found = client.generate([ask(f"What is cell {i}?", seed=i) for i in range(60)])
    answers = [answer for answer in found if isinstance(answer, Generation)]
    assert len(answers) + client.usage.refused["empty"] == 60
    assert len(answers) > 50
    assert all(answer.engine.startswith("vllm-") and answer.model == endpoint.model for answer in answers)
    assert client.usage.completion_tokens > 500


def test_the_same_seed_gives_the_same_answer(endpoint: Endpoint) -> None:
    first, second, other = Client(endpoint).generate([ask("A", seed=3), ask("A", seed=3), ask("A", seed=4)])
    assert isinstance(first, Generation)
    assert isinstance(second, Generation)
    assert isinstance(other, Generation)
    assert first.text == second.text != other.text


def test_a_model_of_noise_is_held_to_schema_and_choice(endpoint: Endpoint) -> None:
    found = Client(endpoint).generate([ask(f"q{i}", 200, i, schema=SCHEMA) for i in range(8)])
    values = [answer.value["n"] for answer in found if isinstance(answer, Generation)]
    assert len(values) >= 6  # noise may fill its room with blanks, which the schema allows
    assert all(0 <= value <= 99 for value in values)
    found = Client(endpoint).generate([ask(f"q{i}", seed=i, choices=("yes", "no")) for i in range(8)])
    assert {answer.value for answer in found if isinstance(answer, Generation)} <= {"yes", "no"}
    assert sum(isinstance(answer, Generation) for answer in found) == 8


def test_a_prompt_that_is_too_long_is_a_refusal_and_not_the_end(endpoint: Endpoint) -> None:
    long, short = Client(endpoint).generate([ask("heart " * 2000), ask("heart")])
    assert getattr(long, "cause", None) == "too_long"
    assert isinstance(short, Generation)


def test_a_killed_server_answers_again(config: Serve, endpoint: Endpoint) -> None:
    import psutil

    del endpoint  # one is running: this is another
    with serve(config) as found:
        port = found.urls[0].split(":")[2].split("/")[0]
        (leader,) = [p for p in psutil.Process().children() if any(f"--port={port}" in part for part in p.cmdline())]
        os.killpg(leader.pid, signal.SIGKILL)
        (answer,) = Client(found).generate([ask("heart")])
    assert isinstance(answer, Generation)


PARENT = """
import sys
from llm.config import Serve
from llm.server import VllmServer
server = VllmServer(Serve.model_validate_json(sys.argv[1]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_nothing_of_a_server_outlives_a_parent_that_is_killed(config: Serve) -> None:
    import psutil

    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, config.model_dump_json()],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout is not None
        leader = psutil.Process(int(parent.stdout.readline()))
        processes = [leader, *leader.children(recursive=True)]
        parent.kill()
    assert len(processes) > 1  # the engine is a process of its own
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []


def test_other_weights_have_another_name(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "tiny")
    assert served_name(str(tmp_path / "tiny")) == served_name(str(model))
    with (tmp_path / "tiny" / "model.safetensors").open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\x00\x01\x02\x03")
    assert served_name(str(tmp_path / "tiny")) != served_name(str(model))
