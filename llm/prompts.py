"""Prompts are data: YAML files with a name, a version, and places that are filled in.

name: question_extension
version: 1
untrusted: [seed]            # places whose text is fenced before it is put in
system: You write questions ...
user: |-
  Subject: {domain}
  {seed}
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from corpus.errors import ManifestError
from corpus.settings import Settings
from llm.client import Message
from llm.fence import fenced, neutralised

_PLACE: Final = re.compile(r"\{([a-z_]+)\}")
MOST_BYTES: Final = 1 << 20


class PromptFile(Settings):
    """What stands in a prompt file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: int = Field(ge=1)
    untrusted: tuple[str, ...] = ()
    system: str = ""
    user: str = Field(min_length=1)

    @model_validator(mode="after")
    def _untrusted_are_places(self) -> PromptFile:
        unknown = sorted(set(self.untrusted) - self.places())
        if unknown:  # a slip of the pen here would let text in without its fence
            raise ValueError(f"untrusted names {unknown[0]!r}, which is no place of this prompt")
        return self

    def places(self) -> frozenset[str]:
        """What is filled in."""
        return frozenset(_PLACE.findall(self.system + self.user))


class Prompt(Settings):
    """A prompt, and the sha256 of its file."""

    file: PromptFile
    sha256: str
    path: str

    @property
    def name(self) -> str:
        """What it is called."""
        return self.file.name

    @property
    def version(self) -> int:
        """Counted up with every change."""
        return self.file.version

    def messages(self, places: Mapping[str, str]) -> tuple[Message, ...]:
        """The messages with all places filled in; the text of a place is never looked at for places again.

        Raises ``ManifestError`` where the file has a place that ``places`` has not; it need not use all of them.
        """
        missing = sorted(self.file.places() - set(places))
        if missing:
            raise ManifestError(
                f"the prompt has a place {{{missing[0]}}} that nothing is put into",
                where=self.path,
                fix=f"use: {', '.join(sorted(places))}",
            )

        def fill(match: re.Match[str]) -> str:
            text = places[match[1]]
            return fenced(text) if match[1] in self.file.untrusted else neutralised(text)

        texts = [("system", self.file.system), ("user", self.file.user)]
        return tuple(Message(role, _PLACE.sub(fill, text).strip()) for role, text in texts if text.strip())  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def load_prompt(path: Path) -> Prompt:
    """Read a prompt file. Raises ``ManifestError``."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ManifestError(f"a prompt has more than {MOST_BYTES} bytes", where=str(path), fix="name a prompt file")
        found = PromptFile.model_validate(YAML(typ="safe", pure=True).load(data.decode("utf-8")))
    except OSError as error:
        raise ManifestError(f"a prompt cannot be read: {error}", where=str(path)) from None
    except ValidationError as error:
        fault = error.errors()[0]
        raise ManifestError(
            f"a prompt is not valid: {': '.join([*map(str, fault['loc']), fault['msg']])}", where=str(path)
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"a prompt is no valid YAML: {str(error).splitlines()[0]}", where=str(path)) from None
    return Prompt(file=found, sha256=hashlib.sha256(data).hexdigest(), path=str(path))
