"""The plan of a run: which rows make the global batch of a step, decided in one place.

A plan depends on the configuration, the journal of weights and the step, not on ranks, workers or time: every rank
plans the whole global batch and takes its slice, so a changed world size changes nothing. The planner's state is a few
integers per domain; the state *after* a step travels with the batch of that step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from corpus.errors import TrainingError
from training.data.mixture import Change, assign_rows, checked_weights, fixed_point

Exhausted = Literal["repeat", "renormalise", "stop", "error"]
UNLIMITED = 1 << 62
RAN_OUT = "ran out"


class PlannerState(BaseModel):
    """Where a plan stands before ``step``. ``journal`` grows by one entry per change of weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    taken: tuple[int, ...]
    """Rows each domain has given."""
    carry: tuple[int, ...]
    """What each domain is owed, in units of 2^-30 rows."""
    journal: tuple[Change, ...]


class Plan(NamedTuple):
    """The rows of one global batch, slot by slot, and the state once they are used."""

    step: int
    domain: NDArray[np.int32]
    position: NDArray[np.int64]
    """Position in the domain's endless stream."""
    version: int
    """Number of the journal entry whose weights are in force."""
    after: PlannerState


@dataclass
class Planner:
    """Plans step after step. Weights change only through ``change``, at a step that is not planned yet."""

    domains: tuple[str, ...]
    rows: tuple[int, ...]
    """Rows of each domain in one epoch."""
    batch: int
    """Rows of a global batch."""
    exhausted: Exhausted
    state: PlannerState
    _pending: list[Change] = field(default_factory=list)

    @classmethod
    def start(
        cls, rows: Mapping[str, int], weights: Mapping[str, float], *, batch: int, exhausted: Exhausted = "repeat"
    ) -> Planner:
        """A plan from step 0. Raises ``TrainingError`` for weights that are not valid or domains without rows."""
        names = tuple(rows)
        checked = _checked(weights, rows)
        zeros = (0,) * len(names)
        first = Change(step=0, weights=checked, reason="start")
        return cls(
            names,
            tuple(rows.values()),
            batch,
            exhausted,
            PlannerState(step=0, taken=zeros, carry=zeros, journal=(first,)),
        )

    @property
    def step(self) -> int:
        """The step that is planned next."""
        return self.state.step

    def restore(self, state: PlannerState) -> None:
        """Go on from ``state``, with the changes that were declared for later steps."""
        # that a domain runs out later is found again, in the middle of that step
        journal = [change for change in state.journal if change.step < state.step or change.reason != RAN_OUT]
        current = [change for change in journal if change.step <= state.step]
        self._pending = [change for change in journal if change.step > state.step]
        self.state = state.model_copy(update={"journal": tuple(current)})

    def change(
        self, step: int, weights: Mapping[str, float], reason: str, facts: Mapping[str, Any], *, earliest: int = 0
    ) -> Change:
        """Declare weights from ``step`` on. Raises ``TrainingError`` where that step is planned already.

        ``earliest`` is the first step that no other rank has planned.
        """
        first = max(self.step, earliest)
        if step < first:
            raise TrainingError(
                f"weights for step {step} come too late: steps up to {first - 1} are planned",
                fix=f"name step {first} or a later one, or lower the loader's prefetch",
            )
        checked = _checked(weights, dict(zip(self.domains, self.rows, strict=True)))
        change = Change(step=step, weights=checked, reason=reason, facts=dict(facts))
        kept = [other for other in self._pending if other.step != step]
        self._pending = sorted([*kept, change], key=lambda other: other.step)
        return change

    def journal(self) -> tuple[Change, ...]:
        """Every change so far, those declared for later steps included."""
        return (*self.state.journal, *self._pending)

    def weights(self) -> dict[str, float]:
        """The weights in force for the next step, as far as declared."""
        due = [change for change in self._pending if change.step <= self.step]
        return (due or list(self.state.journal))[-1].weights

    def plan(self) -> Plan | None:
        """Plan the next step; None where a domain ran out and the policy is to stop."""
        self._apply_due()
        state = self.state
        carry, taken = (np.array(values, np.int64) for values in (state.carry, state.taken))
        domains, weights = np.empty(0, np.int32), self._fixed()
        while len(domains) < self.batch:
            wanted = self.batch - len(domains)
            given, count = assign_rows(wanted, weights, carry, self._remaining(taken))
            given = given[: count + 1]
            taken += np.bincount(given[:count], minlength=len(taken))
            domains = np.concatenate([domains, given[:count]])
            if count < wanted:
                if self.exhausted == "stop":
                    return None
                self._run_out(int(given[count]))
                weights = self._fixed()
        journal = self.state.journal
        self.state = PlannerState(
            step=state.step + 1, taken=tuple(taken.tolist()), carry=tuple(carry.tolist()), journal=journal
        )
        return Plan(state.step, domains, _positions(domains, np.array(state.taken)), len(journal) - 1, self.state)

    def _apply_due(self) -> None:
        due = [change for change in self._pending if change.step <= self.step]
        if due:
            self._pending = self._pending[len(due) :]
            self.state = self.state.model_copy(update={"journal": (*self.state.journal, *due)})

    def _fixed(self) -> NDArray[np.int64]:
        return fixed_point([self.state.journal[-1].weights[name] for name in self.domains])

    def _remaining(self, taken: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.exhausted == "repeat":
            return np.full(len(taken), UNLIMITED)
        return np.array(self.rows, np.int64) - taken

    def _run_out(self, domain: int) -> None:
        """A domain has no rows left within a step: the others share its weight, or that is an error."""
        name, weights = self.domains[domain], dict(self.state.journal[-1].weights)
        weights[name] = 0.0
        rest = sum(weights.values())
        if self.exhausted == "error" or rest <= 0:
            raise TrainingError(
                f"domain {name!r} ran out of rows at step {self.step}",
                fix="set exhausted to repeat, renormalise or stop, lower its weight, or add text",
            )
        spread = {other: weight / rest for other, weight in weights.items()}
        change = Change(step=self.step, weights=spread, reason=RAN_OUT, facts={"domain": name})
        self.state = self.state.model_copy(update={"journal": (*self.state.journal, change)})


def _checked(weights: Mapping[str, float], rows: Mapping[str, int]) -> dict[str, float]:
    checked = checked_weights(weights, tuple(rows))
    empty = [name for name, weight in checked.items() if weight > 0 and rows[name] == 0]
    if empty:
        raise TrainingError(f"no rows in: {', '.join(empty)}", fix="give these domains weight 0, or more text")
    return checked


def _positions(domains: NDArray[np.int32], taken: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of each slot: how many rows its domain gave before it."""
    out = np.empty(len(domains), np.int64)
    for domain in np.unique(domains):
        slots = np.flatnonzero(domains == domain)
        out[slots] = taken[domain] + np.arange(len(slots))
    return out
