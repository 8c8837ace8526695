"""Keeps numba from running machine code of an older version of a kernel.

numba stores compiled functions and looks at the source of each function's own file only: when a function that it
calls, or a constant that it uses, changes in another file, the stale code is used again, silently. Results would then
depend on what was installed before. So the cache folder is named after a digest of every kernel source.

Costs about 20 ms once per process and does not import numba. Folders of older digests stay until somebody deletes them.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

_PREFIX = "kernels-"
_MARKS = ("@njit", "@kernel")  # decorators of compiled functions
_IMPORT = re.compile(r"^from (stages[\w.]*) import ([\w, ]*)", re.MULTILINE)


def key_kernel_cache(root: Path = Path(__file__).parent) -> Path:
    """Point numba's cache at the folder for the present sources; returns it. Call before kernels are imported.

    The folder lies in ``NUMBA_CACHE_DIR`` where the user has set it, else beside the sources, else, where those cannot
    be written, in the user's cache folder.
    """
    base = Path(os.environ.get("NUMBA_CACHE_DIR") or _default_base(root))
    base = base.parent if base.name.startswith(_PREFIX) else base
    folder = base / f"{_PREFIX}{digest(root)}"
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    return folder


def digest(root: Path) -> str:
    """16 hex digits that change with any source that compiled code is made from."""
    whole = hashlib.sha256()
    for path in sources(root):
        whole.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def sources(root: Path) -> list[Path]:
    """Files under ``root`` with compiled functions, and those that these import, sorted."""
    texts = {path: path.read_text("utf-8") for path in sorted(root.rglob("*.py"))}
    found: set[Path] = set()
    waiting = [path for path, text in texts.items() if any(mark in text for mark in _MARKS)]
    while waiting:
        path = waiting.pop()
        if path in found or path not in texts:
            continue
        found.add(path)
        for module, names in _IMPORT.findall(texts[path]):
            place = root.joinpath(*module.split(".")[1:])
            waiting += [place.with_suffix(".py"), *(place / f"{name.strip()}.py" for name in names.split(","))]
    return sorted(found)


def _default_base(root: Path) -> Path:
    beside = root / "__pycache__"
    if os.access(beside if beside.exists() else root, os.W_OK):
        return beside
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "corpus-pipeline"
