"""The identity of code: part of every task's key, so that work done by other code is not mistaken for ours."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from functools import cache
from pathlib import Path


@cache
def code_identity(packages: tuple[str, ...], libraries: tuple[str, ...], modules: tuple[str, ...] = ()) -> str:
    """Identity of everything that can change a result: the files of ``packages``, ``modules`` of this package, and the
    versions of ``libraries``."""
    home = Path(__file__).parent
    files = [home / f"{module}.py" for module in modules]
    for package in packages:
        folder = home.parent / package
        files += [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    digest = hashlib.sha256(platform.python_version().encode())
    for library in libraries:
        digest.update(f"{library}={_version(library)}\n".encode())
    for path in sorted(files):
        digest.update(path.relative_to(home.parent).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
