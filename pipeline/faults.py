"""Faults of a manifest, told with their place: file, line and column, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from corpus.errors import ManifestError
from pipeline.yaml_source import Document

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], document: Document) -> Model:
    """The document as a ``model``. Raises one ``ManifestError`` that lists every fault."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise _manifest_error(model, document, error.errors()) from None


def _manifest_error(model: type[BaseModel], document: Document, faults: Sequence[ErrorDetails]) -> ManifestError:
    lines = [_fault_line(model, document, fault) for fault in faults]
    many = f"{len(lines)} faults in the manifest" if len(lines) > 1 else "a fault in the manifest"
    return ManifestError(many + "".join(f"\n  {line}" for line in lines))


def _fault_line(model: type[BaseModel], document: Document, fault: ErrorDetails) -> str:
    # pydantic puts the tag of a union member into the location; the YAML has no such level
    location = _without_tags(document.data, fault["loc"])
    shown = ".".join(str(step) for step in location) or "manifest"
    message = fault["msg"].removeprefix("Value error, ")
    hint = ""
    if fault["type"] == "extra_forbidden":
        message = "unknown key"
        hint = _did_you_mean(str(location[-1]), _known_keys(model, document.data, location))
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


def _known_keys(root: type[BaseModel], data: Any, location: Sequence[str | int]) -> list[str]:
    """The keys that could stand where the last one of ``location`` does: those of the models on the way there."""
    models: list[type[BaseModel]] = [root]
    for step in location[:-1]:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return []  # a validator has put something in between
        if isinstance(step, str):
            fields = [model.model_fields[step] for model in models if step in model.model_fields]
            if fields:  # else it is a name of the user's own, and the models are those of what it names
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
