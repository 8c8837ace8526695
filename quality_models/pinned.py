"""Files of models: read whole, and compared with the sha256 they are pinned by before anyone looks into them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from corpus.errors import ModelError

MOST_BYTES: Final = 8 << 30
MOST_JSON: Final = 64 << 20  # tokenizers of 250,000 words take 17


def read_file(path: Path) -> bytes:
    """The bytes of a model file. Raises ``ModelError`` when it is absent or larger than any of its kind."""
    most = MOST_JSON if path.suffix == ".json" else MOST_BYTES
    try:
        if path.stat().st_size > most:
            raise ModelError(f"{path.name} is larger than {most >> 20} MiB", where=str(path), fix="use another model")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"a model file cannot be read: {error}", where=str(path), fix="install it again") from error


def read_pinned_file(path: Path, sha256: str) -> bytes:
    """The same, if it is the pinned one."""
    data = read_file(path)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelError(
            f"a model file is not the pinned one: its sha256 is {found}, pinned is {sha256}",
            where=str(path),
            fix="install it again; if you changed it on purpose, pin the new sha256",
        )
    return data
