"""Thousands of damaged pages through kernels that check every access. ``make nightly`` runs millions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_no_damaged_page_makes_a_kernel_leave_its_arrays(pytestconfig):
    # compiled with bounds checks in a process of its own; pytest's cache folder keeps the machine code
    environment = os.environ | {"NUMBA_CACHE_DIR": str(pytestconfig.cache.mkdir("boundscheck")), "PYTHONPATH": "."}
    fuzz = Path(__file__).with_name("fuzz.py")
    done = subprocess.run(
        [sys.executable, str(fuzz), "--mutants", "4000"],
        env=environment, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert "4000 mutants" in done.stdout
