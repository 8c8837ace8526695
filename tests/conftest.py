"""Settings for all tests: seeded, without time limits, quiet engines."""

from __future__ import annotations

import os

from hypothesis import settings

# before any library reads them; worker processes inherit them
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

# a time limit in a test fails on a busy machine: speed is measured in benchmarks/
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.load_profile("fixed")
