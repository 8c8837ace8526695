"""What a model answered, held against what was asked for. Servers promise forms; only what is checked here counts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

FormFault = Literal["empty", "bad_json", "wrong_schema", "not_a_choice"]
NO_VALUE: Final = object()
_FENCED: Final = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
DEEPEST: Final = 64


def read_value(
    text: str, finish: str, schema: Mapping[str, Any] | None, choices: tuple[str, ...] | None
) -> tuple[Any, FormFault | None]:
    """``(value, fault)``: parsed JSON that follows ``schema``, or one of ``choices``; ``NO_VALUE`` for free text."""
    if not text.strip():
        return NO_VALUE, "empty"
    if choices is not None:
        answer = text.strip()
        return (answer, None) if answer in choices else (NO_VALUE, "not_a_choice")
    if schema is None:
        return NO_VALUE, None
    if finish == "length":
        return NO_VALUE, "bad_json"
    fence = _FENCED.match(text)
    try:
        value = json.loads(fence[1] if fence else text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # NaN, 1e999, "\\ud800": JSON to Python alone
    except (ValueError, RecursionError):
        return NO_VALUE, "bad_json"
    return (value, None) if _follows(value, schema) else (NO_VALUE, "wrong_schema")


def _follows(value: Any, schema: Mapping[str, Any]) -> bool:
    import jsonschema

    return bool(_depth(value) <= DEEPEST and jsonschema.Draft202012Validator(dict(schema)).is_valid(value))


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
        ]
    return deepest
