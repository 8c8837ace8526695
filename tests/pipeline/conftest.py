"""A small sample crawl, and runs of the real command line over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """A finished command: its exit code, its last line as JSON if it is one, and what it said."""

    code: int
    result: dict[str, Any] | None
    stdout: str
    stderr: str


def command(*arguments: str, **environment: str) -> Done:
    """Run the command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stdout.strip().splitlines()[-1:] or [""]
    result = json.loads(last[0]) if last[0].startswith("{") else None
    return Done(done.returncode, result, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def cli():
    """The command line as a function: ``cli("run", "manifest.yaml", "--json", CRASH="here") -> Done``."""
    return command


@pytest.fixture(scope="session")
def crawl(tmp_path_factory):
    """A sample crawl of a few hundred pages and the truth about it."""
    from pipeline.sample import generate

    folder = tmp_path_factory.mktemp("crawl")
    return folder, generate(folder, pages=300)


@pytest.fixture
def wanjuan(crawl, tmp_path):
    """Arguments of a run of the main manifest over the sample crawl, into a folder of its own, in small units."""
    folder, _ = crawl
    return [
        "run",
        "manifests/wanjuan.yaml",
        "--json",
        *("--set", f"source.paths=['{folder}/**/*.warc*']"),
        *("--set", "source.unit_bytes=200KiB"),
        *("--set", f"output.path={tmp_path / 'out'}"),
        *("--set", "executor.kind=local"),
    ]
