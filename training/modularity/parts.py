"""Parts of an analysis: each is a file whose name tells what it depends on, so that a finished part is not done again.

Arrays are .npy, figures .json; both are put in their place whole. Several ranks share the parts out in one folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.commit import canonical_json
from corpus.failpoints import failpoint
from corpus.storage import LocalStore
from training.folder import LOG
from training.job import Observe
from training.ranks import Ranks

VERSION = 1
"""Of the method: parts of another version are done again."""


@dataclass(frozen=True)
class Part:
    """One step of the analysis."""

    name: str
    depends: Sequence[Any]
    """Everything that decides the outcome, as JSON."""
    make: Callable[[], NDArray[Any] | dict[str, Any]]

    @property
    def stem(self) -> str:
        """Name of its file, without the ending."""
        identity = hashlib.sha256(canonical_json([VERSION, self.name, *self.depends])).hexdigest()
        return f"{re.sub(r'[^A-Za-z0-9]+', '_', self.name)[:80]}-{identity[:16]}"


class Parts:
    """The folder of finished parts."""

    def __init__(self, folder: Path, phase: str, ranks: Ranks, observe: Observe) -> None:
        self.folder, self._phase, self._ranks, self._observe = folder, phase, ranks, observe
        self._done = 0

    def finish(self, parts: Sequence[Part]) -> list[Any]:
        """Do what is not done yet, shared by the ranks; returns the outcome of each part on every rank."""
        self.folder.mkdir(parents=True, exist_ok=True)
        store = LocalStore(str(self.folder))
        for number, part in enumerate(parts):
            mine = number % self._ranks.world == self._ranks.rank
            if mine and self._find(part) is None:
                failpoint("modularity.part")
                began = time.perf_counter()
                made = part.make()
                name, data = _packed(part, made)
                store.swap(name, data)
                self._tell(part.name, time.perf_counter() - began)
        self._ranks.barrier()
        return [_unpacked(self._find(part)) for part in parts]

    def _find(self, part: Part) -> Path | None:
        return next((path for end in ("npy", "json") if (path := self.folder / f"{part.stem}.{end}").is_file()), None)

    def _tell(self, name: str, seconds: float) -> None:
        self._done += 1
        line = {"phase": self._phase, "step": self._done, "told": name, "seconds": round(seconds, 3)}
        if self._ranks.leads:
            with (self.folder.parent / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self._observe(line)


def _packed(part: Part, made: NDArray[Any] | dict[str, Any]) -> tuple[str, bytes]:
    if isinstance(made, dict):
        return f"{part.stem}.json", json.dumps(made, sort_keys=True).encode()
    buffer = io.BytesIO()
    np.save(buffer, made, allow_pickle=False)
    return f"{part.stem}.npy", buffer.getvalue()


def _unpacked(path: Path | None) -> Any:
    assert path is not None
    return np.load(path, allow_pickle=False) if path.suffix == ".npy" else json.loads(path.read_text("utf-8"))
