"""The learned weights: one file of plain arrays, checked in full before any page is judged by them.

``model.npz`` is made by ``manifests/train_extractor.yaml``; ``MODEL_CARD.md`` beside it says from what, and how well it
does. The file is refused unless its sha256 is the one in ``model.sha256``, its arrays have the right shapes, its trees
end, and it was trained on the features of this version.
"""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.errors import ModelError
from stages.extract.blocks.feature_names import CONTEXT, FEATURES
from stages.extract.blocks.forest import Forest, InvalidForestError, check_forest
from stages.extract.blocks.sums import CLASS_WEIGHTS, WORD_WEIGHTS

SHIPPED = Path(__file__).with_name("model.npz")
PINNED = Path(__file__).with_name("model.sha256")
MOST_BYTES = 64 << 20
_FORESTS = ("first", "second")


class Model(NamedTuple):
    """Weights of words (16384,) and class names (4096,) by hash; the trees that judge blocks alone and in context."""

    word_weights: NDArray[np.float32]
    class_weights: NDArray[np.float32]
    first: Forest
    second: Forest


def feature_digest() -> NDArray[np.uint8]:
    """Stands for the names and the order of all features: a model fits one list only."""
    return np.frombuffer(hashlib.sha256("\n".join((*FEATURES, *CONTEXT)).encode()).digest(), np.uint8)


def save_model(model: Model, path: Path) -> str:
    """Write a model and return the file's sha256. The same model gives the same bytes."""
    arrays = {"word_weights": model.word_weights, "class_weights": model.class_weights, "features": feature_digest()}
    for name in _FORESTS:
        forest: Forest = getattr(model, name)
        arrays |= {f"{name}_{part}": array for part, array in forest._asdict().items()}
    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    path.write_bytes(data.getvalue())
    return hashlib.sha256(data.getvalue()).hexdigest()


def load_model(path: Path, sha256: str | None = None) -> Model:
    """Read a model; with ``sha256``, only if the file has it. Raises ``ModelError``."""
    fix = "write it anew with `pipeline run manifests/train_extractor.yaml`"
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise ModelError(f"{path} is no file of at most {MOST_BYTES >> 20} MiB", fix=fix)
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise ModelError(f"{path} has sha256 {found}, not {sha256}", fix=f"restore the file, or {fix}")
    try:
        _check_size(data)
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return _checked({name: archive[name] for name in archive.files})
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as broken:
        raise ModelError(f"{path} is no model of this version: {broken}", fix=fix) from None


def _check_size(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as members:
        if sum(member.file_size for member in members.infolist()) > MOST_BYTES:
            raise ValueError("it unpacks to more than any model")


@functools.cache
def shipped_model() -> Model:
    """The model of this version."""
    return load_model(SHIPPED, PINNED.read_text().strip())


def _checked(arrays: dict[str, NDArray[np.generic]]) -> Model:
    if not np.array_equal(arrays["features"], feature_digest()):
        raise ValueError("it was trained on other features")
    tables: list[NDArray[np.float32]] = []
    for name, size in (("word_weights", WORD_WEIGHTS), ("class_weights", CLASS_WEIGHTS)):
        table = arrays[name]
        if table.dtype != np.float32 or table.shape != (size,) or not np.isfinite(table).all():
            raise ValueError(f"{name} must be {size} finite numbers of type float32")
        tables.append(table.astype(np.float32))
    forests = []
    for name, columns in (("first", len(FEATURES)), ("second", len(FEATURES) + len(CONTEXT))):
        forest = Forest(*(arrays[f"{name}_{part}"] for part in Forest._fields))  # type: ignore[arg-type]
        try:
            check_forest(forest, columns)
        except InvalidForestError as invalid:
            raise ValueError(f"the {name} forest: {invalid}") from None
        forests.append(forest)
    return Model(tables[0], tables[1], *forests)
