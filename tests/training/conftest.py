"""A small token corpus of two domains with held-out rows, made by a real run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.data.made import easy_and_hard


@pytest.fixture(scope="session")
def tokens(tmp_path_factory) -> Path:
    """Folder of the token corpus: domains ``easy`` and ``hard``."""
    return easy_and_hard(tmp_path_factory.mktemp("tokens"))
