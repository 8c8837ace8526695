"""A server with an OpenAI-compatible face that does what a test tells it to. In this process, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """One HTTP answer. ``data`` bytes are sent as they are; ``hang``: none comes until the server stops."""

    data: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    reset: bool = False


def said(text: str | None, *, finish: str = "stop", model: str = "tiny") -> Answer:
    """An ordinary answer."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}, "text": text}
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return Answer({"model": model, "system_fingerprint": "fake-1", "choices": [choice], "usage": usage})


def failed(status: int, message: str = "broken", **headers: str) -> Answer:
    """An error as OpenAI writes it."""
    return Answer({"error": {"message": message}}, status, {name.replace("_", "-"): v for name, v in headers.items()})


Script = Callable[[int, dict[str, Any]], Answer]
"""(number of the request from 0, its body) -> answer"""


class Fake:
    """What the server saw."""

    def __init__(self, script: Script, models: Sequence[str], status: int) -> None:
        self.script, self.models, self.models_status = script, list(models), status
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = self.now = 0
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.url = ""


@contextmanager
def fake_endpoint(
    script: Script, *, models: Sequence[str] = ("tiny",), status: int = 200, port: int = 0
) -> Iterator[Fake]:
    """Serve ``script`` on loopback until the block ends."""
    fake = Fake(script, models, status)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            fake.headers.append(dict(self.headers))
            self._send(Answer({"data": [{"id": name} for name in fake.models]}, fake.models_status))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with fake.lock:
                number = len(fake.bodies)
                fake.bodies.append(body)
                fake.paths.append(self.path)
                fake.headers.append(dict(self.headers))
                fake.now += 1
                fake.most_at_once = max(fake.most_at_once, fake.now)
            try:
                self._send(fake.script(number, body))
            finally:
                with fake.lock:
                    fake.now -= 1

        def _send(self, answer: Answer) -> None:
            if answer.hang:
                fake.ended.wait()
                self.close_connection = True
                return
            if answer.reset:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            data = answer.data if isinstance(answer.data, bytes) else json.dumps(answer.data).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(data)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            """Clients hang up on purpose here."""

    server = Server(("127.0.0.1", port), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
