"""Reading rulesets: YAML to checked rules, every mistake told with file, line, column and a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from corpus.errors import ManifestError
from stages.rules import Bound, Rule
from stages.signals.definitions import SIGNALS

FOLDER = Path(__file__).parent / "rulesets"


def shipped() -> list[str]:
    """Names of the rulesets that come with this software."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def suggest(word: str, known: Sequence[str]) -> str:
    """``did you mean x?``, or the list of what there is."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"


def read_ruleset(path: Path) -> list[Rule]:
    """The rules of one file, in order. Raises ``ManifestError`` with file and line."""
    entries = _parse(path)
    if not isinstance(entries, list):
        raise ManifestError("a ruleset is a list of rules", where=f"{path}:1", fix="start each rule with '- name: ...'")
    rules: dict[str, Rule] = {}
    for at, entry in enumerate(entries):
        line, column = (number + 1 for number in entries.lc.item(at))  # type: ignore[attr-defined]
        where = f"{path}:{line}:{column}"
        _check_keys(path, entry, Rule, where)
        rule = _make_rule(path, entry)
        if rule.name in rules:
            raise ManifestError(f"rule {rule.name!r} is there twice", where=where)
        rules[rule.name] = rule
    return list(rules.values())


def _parse(path: Path) -> Any:
    """The file's content, in ruamel's types: they remember lines and columns."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt").load(path.read_text("utf-8"))
    except OSError as error:
        raise ManifestError(f"ruleset cannot be read: {error.strerror}", where=str(path)) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ManifestError(f"ruleset is not valid YAML: {error.problem}", where=where) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"ruleset is not valid YAML: {error}", where=str(path)) from error


def _check_keys(path: Path, entry: Any, model: type[BaseModel], where: str) -> None:
    """Unknown keys, told before anything else: they are mostly slips of the pen."""
    if not isinstance(entry, dict):
        raise ManifestError(f"a {model.__name__.lower()} is a mapping of keys", where=where)
    for key in entry:
        if key not in model.model_fields:
            fix = suggest(str(key), list(model.model_fields))
            raise ManifestError(f"unknown key {key!r}", where=_place(path, entry, key), fix=fix)
    if "when" in entry:
        _check_keys(path, entry["when"], Bound, _place(path, entry, "when"))


def _make_rule(path: Path, entry: Any) -> Rule:
    try:
        return Rule.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        keys = [str(key) for key in first["loc"]]
        holder = entry["when"] if keys[:1] == ["when"] else entry
        key = keys[-1] if keys else "signal"
        message = first["msg"].removeprefix("Value error, ")
        fix = suggest(str(holder.get("signal")), list(SIGNALS)) if message.startswith("unknown signal") else ""
        what = f"rule {entry.get('name', '?')!r}: {'.'.join(keys) or 'bounds'}: {message}"
        raise ManifestError(what, where=_place(path, holder, key), fix=fix) from error


def _place(path: Path, entry: Any, key: object) -> str:
    if key in entry:
        line, column = entry.lc.key(key)
        return f"{path}:{line + 1}:{column + 1}"
    return f"{path}:{entry.lc.line + 1}"
