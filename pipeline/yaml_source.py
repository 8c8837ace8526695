"""YAML with positions: parse a manifest safely and remember where every value stands.

Safe by construction: only plain data (no tags), no anchors or aliases (so no expansion bombs), no duplicate keys, at
most 1 MiB. Every failure is a ``ManifestError`` with file, line and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from corpus.errors import ManifestError

MAX_BYTES = 1 << 20
MAX_DEPTH = 50  # the parser's time grows with the square of the depth
Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """Parsed data and the position (line, column; both from 1) of every value, by path."""

    name: str
    data: Any
    positions: dict[Location, tuple[int, int]]

    def where(self, location: Sequence[str | int]) -> str:
        """``file:line:column`` of the value at ``location``, or of its nearest parent that is written down."""
        path = tuple(location)
        while path and path not in self.positions:
            path = path[:-1]
        line, column = self.positions.get(path, (1, 1))
        return f"{self.name}:{line}:{column}"


def read_yaml(path: Path) -> Document:
    """Parse a YAML file. Raises ``ManifestError``."""
    if not path.is_file():
        raise ManifestError(f"there is no manifest at {path}", fix="check the path; examples are in manifests/")
    if path.stat().st_size > MAX_BYTES:
        raise ManifestError(f"{path} is larger than {MAX_BYTES} bytes", fix="put long lists into files of their own")
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError("the manifest is not UTF-8", where=f"{path}: byte {error.start}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Document:
    """Parse YAML text. Raises ``ManifestError``."""
    try:
        depth = 0
        for event in YAML(typ="safe", pure=True).parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1
                raise ManifestError(f"nested deeper than {MAX_DEPTH} levels", where=f"{name}:{line}")
            if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
                mark = event.start_mark
                raise ManifestError(
                    "anchors and aliases are not accepted",
                    where=f"{name}:{mark.line + 1}:{mark.column + 1}",
                    fix="write the value out",
                )
        node = YAML(typ="safe", pure=True).compose(text)
        data = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ManifestError(f"not valid YAML: {(error.problem or str(error)).splitlines()[0]}", where=where) from None
    except (YAMLError, ValueError, RecursionError) as error:
        # control characters, dates and numbers that cannot be, brackets without end
        raise ManifestError(f"not valid YAML: {str(error).splitlines()[0]}", where=name) from None
    positions: dict[Location, tuple[int, int]] = {}
    if node is not None:
        _locate(node, (), positions)
    if not isinstance(data, dict):
        raise ManifestError("a manifest is a mapping of keys", where=name, fix="start with `name: ...`, see manifests/")
    return Document(name, data, positions)


def _locate(node: Node, path: Location, positions: dict[Location, tuple[int, int]]) -> None:
    positions[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode):
                inner = (*path, key.value)
                _locate(value, inner, positions)
                positions[inner] = (key.start_mark.line + 1, key.start_mark.column + 1)
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            _locate(item, (*path, index), positions)
