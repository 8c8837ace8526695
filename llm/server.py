"""vLLM servers of our own: started, asked for their health, started again when they die, and stopped for certain.

A server is a child process in a process group of its own, bound to loopback unless told otherwise. It ends with its
parent, however that ends (PR_SET_PDEATHSIG on Linux). It gets none of the parent's secrets.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx

from corpus.errors import ModelError
from llm.config import Endpoint, Serve

PYTHON: Final = "CORPUS_VLLM_PYTHON"
"""Environment variable that names the interpreter that has vLLM."""

LOOPBACK: Final = "127.0.0.1"
_SECRET: Final = re.compile(r"(?i)_KEY$|_TOKEN$|SECRET|PASSWORD|CREDENTIAL")
_GRACE_S: Final = 10.0
_POLL_S: Final = 0.25
_TAIL: Final = 4000  # characters of the log that an error shows
_PR_SET_PDEATHSIG: Final = 1
_SAMPLE: Final = 1 << 20  # bytes at either end of a large file


class VllmServer:
    """One server. ``command`` replaces vLLM's own, for tests: it gets ``--port``."""

    def __init__(self, config: Serve, *, host: str = LOOPBACK, command: Sequence[str] | None = None) -> None:
        self.config, self.host, self.restarts = config, host, 0
        self.port = _free_port(host)
        self._command = list(command) if command else None
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Path(tempfile.mkdtemp(prefix="vllm-")) / "server.log"

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://{self.host}:{self.port}/v1"

    def start(self) -> None:
        """Start and wait until it is healthy. Raises ``ModelError`` with the end of its log."""
        arguments = [*self._command, f"--port={self.port}"] if self._command else _vllm_command(self)
        with self._log.open("ab") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - arguments are a list, from a validated configuration
                    arguments,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env=child_environment(self.config),
                    start_new_session=True,
                    preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
                )
            except OSError as error:
                raise ModelError(
                    f"the server cannot be started: {error}", where=arguments[0], fix=f"check {PYTHON}"
                ) from None
        deadline = time.monotonic() + self.config.start_timeout_s
        while not self.healthy():
            if self._process.poll() is not None:
                self._fail(f"the server ended with exit code {self._process.returncode} before it was ready")
            if time.monotonic() > deadline:
                self._fail(f"the server was not ready within {self.config.start_timeout_s:g} s")
            time.sleep(_POLL_S)

    def _fail(self, what: str) -> None:
        self.stop()
        raise self.failure(what)

    def failure(self, what: str) -> ModelError:
        """An error that shows the end of the log."""
        text = self._log.read_text("utf-8", errors="replace")[-_TAIL:] if self._log.exists() else ""
        return ModelError(
            f"{what}\n{text}",
            where=f"{self.config.model}, log {self._log}",
            fix="see the log; serve.arguments go to vLLM as they are",
        )

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def healthy(self) -> bool:
        """Whether it answers."""
        if not self.alive():
            return False
        try:
            with httpx.Client(trust_env=False, timeout=5) as client:
                return client.get(f"http://{self.host}:{self.port}/health").status_code == 200
        except httpx.HTTPError:
            return False

    def restart(self) -> None:
        """Stop what is left of it and start it again, at the same address."""
        self.stop()
        self.restarts += 1
        self.start()

    def stop(self) -> None:
        """End the whole process group: asked first, then made to."""
        if self._process is None:
            return
        for number, patience in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, _GRACE_S)):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # children that outlived the leader
        self._process = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None


@contextmanager
def serve(config: Serve, *, command: Sequence[str] | None = None) -> Iterator[Endpoint]:
    """All replicas of a configuration, watched; yields the endpoint to ask. Raises ``ModelError``."""
    servers = [VllmServer(config, command=command) for _ in range(config.replicas)]
    ended = threading.Event()
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
        for server in servers:
            server.start()
        watch = threading.Thread(target=_watch, args=(servers, config, ended), name="vllm watch", daemon=True)
        watch.start()
        try:
            yield endpoint_of(config, [server.url for server in servers])
        except ModelError as error:
            dead = next((server for server in servers if not server.alive()), None)
            raise (
                dead.failure(f"{error.what}: a server has died {dead.restarts + 1} times") if dead else error
            ) from None
        finally:
            ended.set()
            watch.join()


def endpoint_of(config: Serve, urls: Sequence[str]) -> Endpoint:
    """The endpoint of servers of our own, with patience enough for one that starts again."""
    name = served_name(config.model)
    return Endpoint(urls=tuple(urls), model=name, concurrency=config.concurrency, attempts=12, backoff_s=2)


def _watch(servers: Sequence[VllmServer], config: Serve, ended: threading.Event) -> None:
    """Start dead servers again, each so many times; requests meanwhile wait or go to the others."""
    while not ended.wait(_POLL_S * 4):
        for server in servers:
            if not server.alive() and server.restarts < config.restarts and not ended.is_set():
                try:
                    server.restart()
                except ModelError:
                    continue  # counted; clients see it as unreachable and say so


def _vllm_command(server: VllmServer) -> list[str]:
    """vLLM's OpenAI server as a module: the `vllm` command is missing from some builds."""
    config = server.config
    where = _on_cpu(config) if config.gpus == 0 else [f"--tensor-parallel-size={config.gpus}"]
    dtype = "float32" if config.gpus == 0 and config.dtype == "auto" else config.dtype
    return [
        *(os.environ.get(PYTHON, sys.executable), "-m", "vllm.entrypoints.openai.api_server"),
        *(
            f"--model={config.model}",
            f"--served-model-name={served_name(config.model)}",
            "--load-format=safetensors",  # no pickles
            f"--host={server.host}",
            f"--port={server.port}",
        ),
        *(f"--dtype={dtype}", f"--max-model-len={config.max_model_len}", *where, *config.arguments),
    ]


def _on_cpu(config: Serve) -> list[str]:
    """vLLM 0.32 on CPU dies of a request with a seed whose prompt it reads in pieces: it must read them whole."""
    return [
        "--enforce-eager",
        "--no-enable-chunked-prefill",
        f"--max-num-batched-tokens={max(4096, config.max_model_len)}",
    ]


def served_name(model: str) -> str:
    """The name under which our servers know a model: that of its folder, with a fingerprint of what lies in it.

    Answers are stored under this name. Of files above 2 MiB only both ends and the size are hashed.
    """
    folder = Path(model)
    if not folder.is_dir():
        return model
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(_SAMPLE, size - _SAMPLE))
            digest.update(file.read())
    return f"{folder.resolve().name}-{digest.hexdigest()[:12]}"


def child_environment(config: Serve) -> dict[str, str]:
    """The parent's environment without its secrets, and with what keeps vLLM off the network."""
    kept = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    kept |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if config.gpus == 0:
        kept |= {"VLLM_TARGET_DEVICE": "cpu"}
        kept.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    return kept


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def _end_with_parent() -> None:
    libc: Any = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
