"""Which domain gives the next row: exact proportions, weights that may change, and a journal of the changes.

Weights are integers in units of 2^-30 that sum to one exactly, so that every rank and machine takes the same decisions.
Each domain has a *carry*: what it is owed minus what it got. The next row goes, among the domains that are owed
anything, to the one whose carry would be the first to reach a whole row if it were passed over. This is earliest
deadline first in the terms of fair scheduling (Baruah et al. 1996, "Proportionate progress"): under constant weights
the count of a domain differs from its share by less than one row after *every* row, not only at the end of a batch.
A change of weights keeps the carry, so that the sum over all spans stays right as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from corpus.errors import TrainingError

ONE = 1 << 30
"""A weight of 1 in fixed point. Products of a carry and a weight stay below 2^62."""
SUM_TOLERANCE = 1e-6


class Change(BaseModel):
    """One entry of the journal: the weights in force from a step on, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    weights: dict[str, float]
    reason: str = ""
    facts: dict[str, Any] = {}
    """What led to the change: losses, references, a domain that ran out."""


def checked_weights(weights: Mapping[str, float], domains: Sequence[str]) -> dict[str, float]:
    """``weights`` of all ``domains`` in their order; domains that are not named get none.

    Raises ``TrainingError`` naming every fault: unknown domains, negative or not finite values, a sum other than one.
    """
    faults = [f"unknown domain {name!r}" for name in weights if name not in domains]
    faults += [f"{name}: {value} is no weight" for name, value in weights.items() if not 0 <= value < math.inf]
    total = math.fsum(value for value in weights.values() if math.isfinite(value))
    if not faults and abs(total - 1) > SUM_TOLERANCE:
        faults.append(f"they sum to {total:.6f}")
    if faults:
        scaled = {name: round(value / total, 6) for name, value in weights.items()} if total > 0 else {}
        raise TrainingError(
            f"the weights of the mixture are not valid: {'; '.join(faults)}",
            fix=f"domains here: {', '.join(domains)}" + (f"; scaled to one: {scaled}" if scaled else ""),
        )
    return {name: float(weights.get(name, 0.0)) for name in domains}


def fixed_point(weights: Sequence[float]) -> NDArray[np.int64]:
    """Weights as integers that sum to ``ONE``; what rounding leaves over goes to the largest remainders."""
    total = math.fsum(weights)
    exact = [value / total * ONE for value in weights]
    floors = [int(value) for value in exact]
    order = sorted(range(len(exact)), key=lambda d: (floors[d] - exact[d], d))
    for number in order[: ONE - sum(floors)]:
        floors[number] += 1
    return np.array(floors, np.int64)


def assign_rows(
    rows: int, weights: NDArray[np.int64], carry: NDArray[np.int64], remaining: NDArray[np.int64]
) -> tuple[NDArray[np.int32], int]:
    """Give ``rows`` rows to domains, changing ``carry`` and ``remaining`` in place.

    Returns the domain of each row, and how many rows were given: fewer than asked for when the domain whose turn it is
    has none remaining (its turn is not taken; it stands in the returned array at that place).
    """
    domains = np.full(rows, -1, np.int32)
    return domains, int(_assign(weights, carry, remaining, domains))


@numba.njit(cache=True, nogil=True)
def _assign(weights, carry, remaining, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(out.size):
        best = -1
        owed = False
        for domain in range(weights.size):
            if weights[domain] == 0:
                continue
            has = carry[domain] + weights[domain] > 0
            if best < 0 or (has and not owed):
                best, owed = domain, has
                continue
            if has != owed:
                continue
            # deadlines are compared as fractions (ONE - carry) / weight, multiplied out
            mine = (ONE - carry[domain] - weights[domain]) * weights[best]
            if mine < (ONE - carry[best] - weights[best]) * weights[domain]:
                best = domain
        out[row] = best
        if best < 0 or remaining[best] == 0:
            return row
        for domain in range(weights.size):
            carry[domain] += weights[domain]
        carry[best] -= ONE
        remaining[best] -= 1
    return out.size
