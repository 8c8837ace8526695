"""The manifest: one YAML file that says what is read, what is done to it, and where the corpus goes.

``load_manifest`` turns a file plus ``--set`` overrides into a frozen, validated ``Manifest``, or raises one
``ManifestError`` that names file, line and column of every fault and suggests what was meant. Nothing is started,
opened or downloaded before it returns. ``json_schema`` exports the same models for editors.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ByteSize, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from corpus.errors import ManifestError
from corpus.settings import Settings
from pipeline.yaml_source import Document, read_yaml
from retrieval.config import Harvest
from stages.catalogue import AnyStage
from stages.read import SourceConfig
from stages.read.units import refuse_secrets, refuse_userinfo

MIB = 1 << 20


class OutputConfig(Settings):
    """Where the corpus goes and how its shards are cut."""

    path: str = Field(min_length=1)
    """Folder (or ``s3://bucket/prefix``) of this corpus. One corpus per folder."""
    shard_bytes: ByteSize = ByteSize(256 * MIB)
    """Upper bound of the text in one shard, e.g. ``256MiB``. Compressed files come out at about a third."""
    row_group_rows: int = Field(default=1024, ge=64, le=65536)
    """Rows per Parquet row group: the unit that a loader seeks to."""
    storage_options: dict[str, Any] = {}
    """Options for the file system that ``path`` names (endpoint, region). Secrets belong in the environment."""

    @field_validator("storage_options")
    @classmethod
    def _no_secrets(cls, options: dict[str, Any]) -> dict[str, Any]:
        refuse_secrets(options)
        return options

    @field_validator("path")
    @classmethod
    def _no_password(cls, path: str) -> str:
        refuse_userinfo(path)
        return path


class ExecutorConfig(Settings):
    """Who does the work. Has no influence on the result."""

    kind: Literal["ray", "local"] = "ray"
    """``ray``: this machine, or the cluster that RAY_ADDRESS names. ``local``: plain processes."""
    workers: int | None = Field(default=None, ge=1)
    """Tasks at a time. Default: the cores of this machine (or of the cluster)."""
    max_attempts: int = Field(default=3, ge=1)
    """How often a unit whose worker died is tried before it is searched for the document that kills it."""
    max_quarantined_share: float = Field(default=0.1, ge=0, le=1)
    """The run fails when more than this share of the documents of a unit kills its worker."""
    gpus: float = Field(default=0, ge=0, le=16)
    """GPUs that Ray gives to each task that embeds passages or searches them (precision bf16, faiss-gpu)."""
    dashboard: bool = True
    """Start Ray's dashboard (on loopback) with the run."""


class Manifest(Settings):
    """A whole run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Name of the corpus: lower-case letters, digits, ``_`` and ``-``."""
    source: SourceConfig
    """What is read."""
    output: OutputConfig
    """Where it goes."""
    executor: ExecutorConfig = ExecutorConfig()
    """Who does it."""
    harvest: Harvest | None = None
    """Take only what treats the subjects of some seeds (Query of CC). The source is a finished corpus then."""
    stages: tuple[AnyStage, ...] = ()
    """What is done to every document, in this order."""


def load_manifest(path: Path, overrides: Sequence[str] = ()) -> Manifest:
    """Read, override and validate. Raises ``ManifestError`` listing every fault with its place."""
    document = read_yaml(path)
    for override in overrides:
        apply_override(document.data, override)
    try:
        return Manifest.model_validate(document.data)
    except ValidationError as error:
        raise _manifest_error(document, error.errors()) from None


def apply_override(data: dict[str, Any], override: str) -> None:
    """Apply ``dotted.key=value`` in place. Stages go by index or kind: ``stages.extract.engine=...``."""
    key, equals, text = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise ManifestError(f"--set {override!r} is not of the form dotted.key=value")
    try:
        value = YAML(typ="safe", pure=True).load(io.StringIO(text)) if text.strip() else ""
    except (YAMLError, ValueError, RecursionError):
        value = text
    target: Any = data
    for step in steps[:-1]:
        target = _descend(target, step, override)
    last = steps[-1]
    if isinstance(target, list):
        target[_index(target, last, override)] = value
    elif isinstance(target, dict):
        target[last] = value
    else:
        raise ManifestError(f"--set {override!r}: {last!r} is inside a plain value")


def _descend(target: Any, step: str, override: str) -> Any:
    if isinstance(target, list):
        return target[_index(target, step, override)]
    if isinstance(target, dict):
        return target.setdefault(step, {})
    raise ManifestError(f"--set {override!r}: {step!r} is inside a plain value")


def _index(items: list[Any], step: str, override: str) -> int:
    if step.isdecimal() and int(step) < len(items):
        return int(step)
    kinds = [item.get("kind", "") if isinstance(item, dict) else "" for item in items]
    if kinds.count(step) == 1:
        return kinds.index(step)
    trouble = "stands there more than once; use its number" if step in kinds else "is not there"
    raise ManifestError(f"--set {override!r}: {step!r} {trouble}", fix=f"it has: {', '.join(map(str, kinds))}")


def json_schema() -> dict[str, Any]:
    """JSON Schema of a manifest, for editors and other tools."""
    schema = Manifest.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "pipeline manifest"}


def _manifest_error(document: Document, faults: Sequence[ErrorDetails]) -> ManifestError:
    lines = [_fault_line(document, fault) for fault in faults]
    many = f"{len(lines)} faults in the manifest" if len(lines) > 1 else "a fault in the manifest"
    return ManifestError(many + "".join(f"\n  {line}" for line in lines))


def _fault_line(document: Document, fault: ErrorDetails) -> str:
    # pydantic puts the tag of a union member into the location; the YAML has no such level
    location = _without_tags(document.data, fault["loc"])
    shown = ".".join(str(step) for step in location) or "manifest"
    message = fault["msg"].removeprefix("Value error, ")
    hint = ""
    if fault["type"] == "extra_forbidden":
        message = "unknown key"
        hint = _did_you_mean(str(location[-1]), _known_keys(document.data, location))
    elif fault["type"] == "union_tag_invalid":
        kind = str(fault["input"].get("kind")) if isinstance(fault["input"], Mapping) else ""
        what = "unknown stage kind" if location[0] == "stages" else "unknown kind"
        tags = [tag.strip(" '") for tag in str(fault["ctx"]["expected_tags"]).split(",")]
        message, hint = f"{what} {kind!r}", _did_you_mean(kind, tags)
    elif fault["type"] == "missing":
        message = "this key is required"
    elif fault["type"] == "literal_error":
        hint = _did_you_mean(str(fault["input"]), _literals(fault))
    return f"{document.where(location)}: {shown}: {message}{hint}"


def _without_tags(data: Any, location: Sequence[str | int]) -> tuple[str | int, ...]:
    path: list[str | int] = []
    for step in location:
        if isinstance(data, list) and isinstance(step, int):
            data = data[step] if step < len(data) else None
        elif isinstance(data, Mapping) and step in data:
            data = data[step]
        elif isinstance(data, Mapping) and data.get("kind") == step:
            continue
        else:
            data = None
        path.append(step)
    return tuple(path)


def _known_keys(data: Any, location: Sequence[str | int]) -> list[str]:
    """The keys that could stand where the last one of ``location`` does: those of the models on the way there."""
    models: list[type[BaseModel]] = [Manifest]
    for step in location[:-1]:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return []  # a validator has put something in between
        if isinstance(step, str):
            fields = [model.model_fields[step] for model in models if step in model.model_fields]
            models = [found for field in fields for found in _models_in(field.annotation)]
        kind = data.get("kind") if isinstance(data, Mapping) else None
        if kind is not None and len(models) > 1:
            models = [model for model in models if kind in get_args(model.model_fields["kind"].annotation)]
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]


def _literals(fault: ErrorDetails) -> list[str]:
    expected = str(fault.get("ctx", {}).get("expected", ""))
    return [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]


def _did_you_mean(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
