"""The Triton kernels where there is no GPU: interpreted, and compiled for one. Each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="pip install triton")
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SHARED_MEMORY = 227 * 1024
"""Of a processor of an H100, for one program."""


def ran(*command: str, **environment: str) -> str:
    """What the command printed; its end, if it failed."""
    known = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=known, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def test_kernels_are_right_when_interpreted() -> None:
    path = str(HERE / "interpreted.py")
    assert "[100%]" in ran("-m", "pytest", path, "-q", "-p", "no:cacheprovider", TRITON_INTERPRET="1")


def test_kernels_compile_for_hopper_within_its_shared_memory() -> None:
    lines = [line.split() for line in ran(str(HERE / "compiled.py"), TRITON_INTERPRET="0").splitlines()]
    assert len(lines) == 11
    for label, shared, whole_tiles in lines:
        assert int(shared) <= SHARED_MEMORY, label
        assert (whole_tiles == "True") == label.startswith(("up", "back", "down", "weight")), label
