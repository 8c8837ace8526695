"""Every error a user can cause or meet, as one tree.

    CorpusError                      what / where / how to fix, and a stable code
    ├── ManifestError      E1xx      the manifest is wrong; nothing has started
    ├── SourceError        E2xx      an input cannot be listed, opened or understood at all
    ├── StageError         E3xx      a stage cannot be opened, or broke its contract
    ├── LedgerError        E4xx      the conservation law does not hold; the run must fail
    ├── StorageError       E5xx      a file is missing, torn, changed, or would be replaced
    ├── RunError           E6xx      the run cannot start or go on (lock, flood of quarantine, lost workers)
    ├── ModelError         E7xx      a model file is missing or is not the one that was pinned
    └── TrainingError      E8xx      a trainer cannot start or go on: weights, shapes, state of another corpus

An error message has three parts. ``what`` happened is mandatory; ``where`` names the manifest line, unit, file
or row; ``fix`` says what to do next. The command line prints them; programs read ``code``.
"""

from __future__ import annotations


class CorpusError(Exception):
    """Base of all errors this project raises on purpose. ``str(error)`` is one readable paragraph."""

    code = "E000"

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = what, where, fix

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders: the keyword-only signature needs its own way through pickle.
        return _rebuild, (type(self), self.what, self.where, self.fix)

    def __str__(self) -> str:
        first, newline, rest = self.what.partition("\n")
        parts = [f"{first} [{self.code}]{newline}{rest}"]
        if self.where:
            parts.append(f"  where: {self.where}")
        if self.fix:
            parts.append(f"  fix:   {self.fix}")
        return "\n".join(parts)


def _rebuild(kind: type[CorpusError], what: str, where: str, fix: str) -> CorpusError:
    return kind(what, where=where, fix=fix)


class ManifestError(CorpusError, ValueError):
    """The manifest (or a ``--set`` override) is invalid. Raised before any work starts."""

    code = "E100"


class SourceError(CorpusError, OSError):
    """An input path matches nothing, cannot be opened, or has an unknown format."""

    code = "E200"


class StageError(CorpusError, RuntimeError):
    """A stage could not be opened, or returned a batch that breaks its contract."""

    code = "E300"


class LedgerError(CorpusError, AssertionError):
    """Documents or bytes went missing: read != kept + rejected + duplicates + quarantined."""

    code = "E400"


class StorageError(CorpusError, OSError):
    """A file is missing, torn, differs from its recorded hash, or would be replaced."""

    code = "E500"


class RunError(CorpusError, RuntimeError):
    """The run cannot start or continue."""

    code = "E600"


class ModelError(CorpusError, ValueError):
    """A model file is absent, or its sha256 is not the pinned one."""

    code = "E700"


class TrainingError(CorpusError, ValueError):
    """A trainer cannot start or go on: an unknown domain, a state of another corpus, a shape that cannot be reached."""

    code = "E800"
