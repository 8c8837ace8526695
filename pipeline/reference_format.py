"""How the reference writes types, defaults and tables in Markdown."""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo

Reasons = tuple[tuple[str, str], ...]


def fields_table(model: type[BaseModel]) -> str:
    """The fields of a model as a table; nothing where it has none."""
    properties = model.model_json_schema().get("properties", {})
    rows = [
        (f"`{name}`", type_name(field.annotation), default_text(field), (field.description or "").replace("``", "`"))
        for name, field in model.model_fields.items()
        if name != "kind" and name in properties
    ]
    return table(("field", "type", "default", "meaning"), rows) if rows else ""


def type_name(annotation: Any) -> str:
    """A type as a manifest's author sees it: ``list of string``, ``number or null``."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(inside[0])
    if origin is Literal:
        return " / ".join(f"`{value}`" for value in inside)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(part) for part in inside)
    if origin is tuple:
        return f"list of {type_name(inside[0])}"
    if inside:
        return f"map from {type_name(inside[0])} to {type_name(inside[1])}"
    return "any" if annotation is Any else _plain_type(annotation)


def _plain_type(annotation: type) -> str:
    if issubclass(annotation, BaseModel):
        return "{" + ", ".join(annotation.model_fields) + "}"
    names = {str: "string", bool: "boolean", int: "integer", float: "number", ByteSize: "size", type(None): "null"}
    return names.get(annotation, annotation.__name__)


def default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    return f"`{json.dumps(value)}`"


def arrow_name(kind: object) -> str:
    return {"float": "float32", "large_string": "string"}.get(str(kind), str(kind))


def reasons_table(rows: Reasons) -> str:
    return table(("reason", "when"), [(f"`{name}`", doc) for name, doc in rows])


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(" ".join(text.split()).replace("|", "\\|") for text in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
