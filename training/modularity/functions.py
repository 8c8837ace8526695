"""What neurons may be for. A function has sub-functions; a sub-function is a name and, for some sequences, whether they
show it: as many that do as do not, drawn by a seed.

``topics`` cuts sequences from held-out rows of a token corpus; its sub-functions are the domains, each against the
rest. ``labelled`` reads texts with labels; its sub-functions are the label columns, or the classes of one column. A
fifth of all sequences is set apart: perturbations are measured on these, and neurons never chosen by them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from corpus.commit import canonical_json
from corpus.errors import ManifestError, TrainingError
from corpus.settings import Settings
from training.data.source import Corpus, Domain
from training.modularity.labels import Columns, Labels, read_labelled
from training.modularity.record import Ids

APART = 0.2
"""Share of the sequences that only perturbations see."""
LEAST = 16
"""Sequences per class below which predictivity says nothing."""
Indices = NDArray[np.int64]


class Topics(Settings):
    """The domains of the token corpus."""

    kind: Literal["topics"]
    """What kind of function."""
    name: str = "topic"
    """Name of the function."""
    domains: tuple[str, ...] = ()
    """Its sub-functions; default: all domains of the corpus. Of two, one against the other is a single one."""
    length: int = Field(default=64, ge=2)
    """Tokens of a sequence."""
    per_class: int = Field(default=500, ge=LEAST)
    """Most sequences with and without each sub-function."""


class LabelledTexts(Settings):
    """Texts with labels, tokenised by the model's own ``tokenizer.json``."""

    kind: Literal["labelled"]
    """What kind of function."""
    name: str = Field(min_length=1)
    """Name of the function; entries of one name are one function."""
    paths: tuple[str, ...] = Field(min_length=1)
    """JSON lines (also .gz or .zst) or Parquet files, or globs of such files."""
    text_field: str = "text"
    """Column with the text."""
    labels: tuple[str, ...] = Field(default=("label",), min_length=1)
    """Columns with labels: of two values (0 and 1, true and false, two names) one sub-function, of more one each."""
    values: tuple[str, ...] = ()
    """Of a column with more than two values: only these are sub-functions; default: all."""
    length: int = Field(default=128, ge=2)
    """Tokens after which a text is cut."""
    per_class: int = Field(default=1000, ge=LEAST)
    """Most texts with and without each sub-function (the paper: 1000)."""

    def files(self) -> list[Path]:
        """The files, which must be there."""
        found: list[Path] = []
        for path in self.paths:
            files = [Path(file) for file in sorted(glob(path, recursive=True)) if Path(file).is_file()]  # noqa: PTH207
            if not files:
                raise ManifestError(f"no such file: {path}", where=f"function {self.name!r}", fix="check its paths")
            found += files
        return found


FunctionSource = Annotated[Topics | LabelledTexts, Field(discriminator="kind")]


@dataclass(frozen=True)
class SubFunction:
    """Row numbers are those of the function's sequences."""

    name: str
    rows: Indices
    """What neurons are judged by."""
    labels: NDArray[np.bool_]
    """One per row: half of them true."""
    own: Indices
    """Set apart: sequences that show the sub-function"""
    other: Indices
    """and sequences that do not."""


@dataclass(frozen=True)
class Function:
    """A function with its sequences."""

    name: str
    sequences: Sequence[Ids]
    parts: tuple[SubFunction, ...]

    @property
    def digest(self) -> str:
        """Identity of what neurons are judged by."""
        return self._digest(lambda part: [(part.rows, part.labels)])

    @property
    def apart_digest(self) -> str:
        """Identity of what is set apart."""
        return self._digest(lambda part: [(part.own, np.ones(len(part.own))), (part.other, np.zeros(len(part.other)))])

    def _digest(self, chosen: Callable[[SubFunction], list[tuple[Indices, NDArray[Any]]]]) -> str:
        found = hashlib.sha256(canonical_json([self.name, [part.name for part in self.parts]]))
        for part in self.parts:
            for rows, labels in chosen(part):
                for row, label in zip(rows, labels, strict=True):
                    ids = self.sequences[row]
                    found.update(bytes([int(label)]) + len(ids).to_bytes(4, "little") + ids.tobytes())
        return found.hexdigest()


def make_functions(
    sources: Sequence[Topics | LabelledTexts], held_out: Corpus | None, tokenizer: Path, *, apart: int, seed: int
) -> list[Function]:
    """Draw the sequences of all functions. ``apart``: most sequences per side of a perturbation.

    ``tokenizer``: folder of the model. Raises ``TrainingError`` for too few sequences or a single class, and
    ``ManifestError`` for what the sources name wrongly.
    """
    found: dict[str, Function] = {}
    for number, source in enumerate(sources):
        rng = np.random.default_rng([seed, number])
        if isinstance(source, Topics):
            labels, take = _topics(source, corpus_of(source, held_out), rng)
        else:
            columns = Columns(source.text_field, source.labels, source.values)
            labels, take = read_labelled(source.files(), columns, tokenizer=tokenizer, length=source.length)
        one = draw(source.name, labels, take, per_class=source.per_class, apart=apart, rng=rng)
        found[source.name] = _joined(found[source.name], one) if source.name in found else one
    return list(found.values())


def corpus_of(source: Topics, held_out: Corpus | None) -> Corpus:
    """The corpus that topics are cut from. Raises ``ManifestError`` where it cannot serve."""
    where = f"function {source.name!r}"
    if held_out is None:
        raise ManifestError("topics need a token corpus", where=where, fix="name one as data")
    unknown = sorted(set(source.domains) - set(held_out.domains))
    if unknown:
        fix = f"it has: {', '.join(held_out.domains)}"
        raise ManifestError(f"the corpus has no domain {unknown[0]!r}", where=where, fix=fix)
    if len(source.domains or held_out.domains) < 2:
        raise ManifestError("one domain is no topic", where=where, fix="a topic is told from others: name two or more")
    if source.length > held_out.sequence_length + 1:
        fix = f"rows of the corpus have {held_out.sequence_length + 1} tokens"
        raise ManifestError(f"length {source.length} is longer than a row", where=where, fix=fix)
    return held_out


def draw(
    name: str,
    labels: Labels,
    take: Callable[[Indices], list[Ids]],
    *,
    per_class: int,
    apart: int,
    rng: np.random.Generator,
) -> Function:
    """Balanced sub-functions from ``labels``; ``take`` gives the sequences that were drawn."""
    size = len(next(iter(labels.values())))
    order = rng.permutation(size)
    cut = round(APART * size)
    drawn = {}
    for part, values in labels.items():
        sides = [order[cut:][values[order[cut:]] == side] for side in (1, 0)]
        away = [order[:cut][values[order[:cut]] == side][:apart] for side in (1, 0)]
        count = min(per_class, *(len(side) for side in sides))
        if count < LEAST or (apart and not all(len(side) for side in away)):
            with_it, without = (int((values == side).sum()) for side in (1, 0))
            raise TrainingError(
                f"{with_it} sequences with and {without} without it are too few, or of one class",
                where=f"function {name!r}, sub-function {part!r}",
                fix=f"{LEAST} of each are needed beside the fifth that is set apart; give more, or leave it out",
            )
        drawn[part] = (*(side[:count] for side in sides), *away)
    used = np.unique(np.concatenate([rows for four in drawn.values() for rows in four]))

    def placed(*rows: Indices) -> Indices:
        return np.searchsorted(used, np.sort(np.concatenate(rows)))

    parts = tuple(
        SubFunction(part, placed(true, false), labels[part][used[placed(true, false)]] == 1, placed(own), placed(other))
        for part, (true, false, own, other) in drawn.items()
    )
    return Function(name, take(used), parts)


def _joined(one: Function, more: Function) -> Function:
    """One function of the sub-functions of both."""
    twice = sorted({part.name for part in one.parts} & {part.name for part in more.parts})
    if twice:
        fix = "name the label columns, or the files, differently"
        raise ManifestError(f"two sub-functions are called {twice[0]!r}", where=f"function {one.name!r}", fix=fix)
    ahead = len(one.sequences)
    moved = tuple(
        SubFunction(part.name, part.rows + ahead, part.labels, part.own + ahead, part.other + ahead)
        for part in more.parts
    )
    return Function(one.name, [*one.sequences, *more.sequences], one.parts + moved)


def _topics(source: Topics, corpus: Corpus, rng: np.random.Generator) -> tuple[Labels, Callable[[Indices], list[Ids]]]:
    names = source.domains or tuple(corpus.domains)
    wanted = -(-source.per_class // (1 - APART)) + LEAST  # the fifth that is set apart is drawn by chance
    pieces: Mapping[str, list[Ids]] = {
        name: cut_pieces(corpus.domains[name], source.length, corpus.sequence_length + 1, int(wanted), rng)
        for name in names
    }
    every = [ids for name in names for ids in pieces[name]]
    topic = np.repeat(np.arange(len(names)), [len(pieces[name]) for name in names])
    labels = {name: (topic == number).astype(np.int8) for number, name in enumerate(names)}
    if len(names) == 2:
        labels = {" against ".join(names): labels[names[0]]}
    return labels, lambda rows: [every[row] for row in rows]


def cut_pieces(domain: Domain, length: int, row_length: int, count: int, rng: np.random.Generator) -> list[Ids]:
    """At most ``count`` pieces of ``length`` tokens from random places of a domain, none overlapping, none padded."""
    per_row = row_length // length
    order = rng.permutation(domain.rows * per_row)
    bounds = np.cumsum([0, *(block.rows for block in domain.blocks)])
    found: list[Ids] = []
    for start in range(0, len(order), count):
        chosen = order[start : start + count]
        rows = chosen // per_row
        blocks = np.searchsorted(bounds, rows, side="right") - 1
        taken: dict[int, Ids] = {}
        for block in np.unique(blocks):
            mine = np.flatnonzero(blocks == block)
            held, places = domain.open(domain.blocks[block]).select(rows[mine] - bounds[block])
            for piece, place in zip(mine, places, strict=True):
                begin = int(chosen[piece] % per_row) * length
                if begin + length <= held.length[place]:
                    taken[int(piece)] = held.tokens[place, begin : begin + length].astype(np.int32)
        found += [taken[piece] for piece in sorted(taken)]
        if len(found) >= count:
            break
    return found[:count]
