"""vLLM servers of our own: started, asked for their health, started again when they die, and stopped for certain.

A server is a child process in a process group of its own, bound to loopback unless told otherwise. It ends with its
parent, however that ends (PR_SET_PDEATHSIG on Linux, which means the parent's *thread*: start a server from one that
lives as long as the server is wanted). It gets none of the parent's secrets.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from corpus.errors import ModelError
from llm.config import Endpoint, Serve
from llm.connection import tls
from llm.launch import PYTHON, child_environment, command_of, served_name, shares_of_gpus

LOOPBACK: Final = "127.0.0.1"
_GRACE_S: Final = 10.0
_POLL_S: Final = 0.1  # while one starts
_WATCH_S: Final = 0.5  # between looks at those that run
_TAIL: Final = 4000  # bytes of the log that an error shows
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final[Any] = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: not between fork and exec


class VllmServer:
    """One server. ``command`` replaces vLLM's own, for tests: it gets ``--port``.

    ``devices``: the GPUs it may see, as CUDA_VISIBLE_DEVICES names them; None: those that the parent sees.
    """

    def __init__(
        self,
        config: Serve,
        *,
        host: str = LOOPBACK,
        command: Sequence[str] | None = None,
        devices: Sequence[str] | None = None,
    ) -> None:
        self.config, self.host, self.restarts, self._devices = config, host, 0, devices
        self.port = _free_port(host)
        self._command = list(command) if command else None
        self._process: subprocess.Popen[bytes] | None = None
        self._given_up = threading.Event()
        self._log = Path(tempfile.mkdtemp(prefix="vllm-")) / "server.log"

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://{self.host}:{self.port}/v1"

    def start(self) -> None:
        """Start and wait until it is healthy. Raises ``ModelError`` with the end of its log."""
        self.launch()
        self.wait_until_healthy()

    def launch(self) -> None:
        """Start the process. Raises ``ModelError`` where there is no such program."""
        arguments = (
            [*self._command, f"--port={self.port}"] if self._command else command_of(self.config, self.host, self.port)
        )
        with self._log.open("ab") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - arguments are a list, from a validated configuration
                    arguments,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env=child_environment(self.config, self._devices),
                    start_new_session=True,
                    preexec_fn=partial(_end_with_parent, os.getpid()) if _LIBC else None,  # noqa: PLW1509
                )
            except OSError as error:
                raise ModelError(
                    f"the server cannot be started: {error}", where=arguments[0], fix=f"check {PYTHON}"
                ) from None

    def wait_until_healthy(self) -> None:
        """Wait until it answers. Raises ``ModelError`` with the end of its log."""
        deadline = time.monotonic() + self.config.start_timeout_s
        while not self.healthy():
            code = self._process.poll() if self._process else None
            if code is not None:
                self._fail(f"the server ended with exit code {code} before it was ready")
            if time.monotonic() > deadline:
                self._fail(f"the server was not ready within {self.config.start_timeout_s:g} s")
            if self._given_up.wait(_POLL_S):
                self._fail("the server was no longer wanted before it was ready")

    def give_up(self) -> None:
        """End a wait for its health that goes on in another thread, and any later one."""
        self._given_up.set()

    def _fail(self, what: str) -> None:
        self.stop()
        raise self.failure(what)

    def failure(self, what: str) -> ModelError:
        """An error that shows the end of the log."""
        return ModelError(
            f"{what}\n{_end_of(self._log)}",
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
            with httpx.Client(trust_env=False, timeout=5, verify=tls()) as client:
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
    servers = [VllmServer(config, command=command, devices=devices) for devices in shares_of_gpus(config)]
    ended = threading.Event()
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
        for server in servers:
            server.launch()
        for server in servers:
            server.wait_until_healthy()
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
            for server in servers:
                server.give_up()  # one that is being started again need not become ready first
            watch.join()


def endpoint_of(config: Serve, urls: Sequence[str]) -> Endpoint:
    """The endpoint of servers of our own, with patience enough for one that starts again."""
    name = served_name(config.model)
    return Endpoint(urls=tuple(urls), model=name, concurrency=config.concurrency, attempts=12, backoff_s=2)


def _watch(servers: Sequence[VllmServer], config: Serve, ended: threading.Event) -> None:
    """Start dead servers again, each so many times; requests meanwhile wait or go to the others."""
    while not ended.wait(_WATCH_S):
        for server in servers:
            if not server.alive() and server.restarts < config.restarts and not ended.is_set():
                try:
                    server.restart()
                except ModelError:
                    continue  # counted; clients see it as unreachable and say so


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def _end_with_parent(parent: int) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before it could be asked for a signal
        os._exit(1)


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
