"""A stand-in for vLLM's server, as a process of its own: answers, or fails in the way that its arguments say.

python stand_in.py --port=N [--dies=starting] [--child=FILE] [--once=FILE --tell=PORT]

``once``: the first start is a good one; a later one tells PORT that it has begun, and is never ready.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ARGUMENTS = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])


class Handler(BaseHTTPRequestHandler):
    """Health, models, chat; the answer to a chat is the process id."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._send({"data": [{"id": "anything"}]} if self.path.endswith("/models") else {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        names = sorted(name for name in os.environ if "CANARY" in name or name.startswith(("HF_", "VLLM")))
        message = {"content": json.dumps({"pid": os.getpid(), "environment": names})}
        self._send({"model": "anything", "choices": [{"message": message, "finish_reason": "stop"}]})

    def _send(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    if ARGUMENTS.get("dies") == "starting":
        sys.exit("no room on the device")
    if "child" in ARGUMENTS:  # as vLLM starts processes of its own
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(ARGUMENTS["child"]).write_text(str(child.pid))
    if "once" in ARGUMENTS and Path(ARGUMENTS["once"]).exists():
        socket.create_connection(("127.0.0.1", int(ARGUMENTS["tell"])))
        signal.pause()
    if "once" in ARGUMENTS:
        Path(ARGUMENTS["once"]).touch()
    ThreadingHTTPServer(("127.0.0.1", int(ARGUMENTS["port"])), Handler).serve_forever()
