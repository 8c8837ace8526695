"""The manifest: one YAML file that says what is read, what is done to it, and where the corpus goes.

``load_manifest`` turns a file plus ``--set`` overrides into a frozen, validated ``Manifest``, or raises one
``ManifestError`` that names file, line and column of every fault and suggests what was meant. Nothing is started,
opened or downloaded before it returns. ``json_schema`` exports the same models for editors.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ByteSize, Field, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from corpus.errors import ManifestError
from corpus.settings import Settings
from pipeline.faults import validated
from pipeline.yaml_source import read_yaml
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
    return validated(Manifest, document)


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
