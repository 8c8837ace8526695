"""Which kernel for which shape: measured once on a GPU, remembered, and taken again by a resumed run.

The dense layer under a mask is always a candidate, so sparse execution is never slower than dense by more than the
router. Candidates are timed forward (and backward, in training) on random data: zeros would be faster. A measurement
takes about a second per shape and none of the run's random numbers. Experts are drawn evenly, which flatters ``bmm`` a
little. Kernels round differently: ranks that must agree to the bit need one table (``save`` on one, ``load`` on all).

On a CPU nothing is measured, so that runs repeat: ``loop``, unless an expert's share is so small that calls cost more
than products (``SMALL``), or most experts are chosen anyway: then ``masked``.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from corpus.errors import TrainingError
from training.sparse.products import KERNELS, usable

SMALL = 2**18
"""Multiplications that the dense layer may cost per busy expert and still be taken on a CPU: about as long as calls."""
WARM, TIMED = 3, 7
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Case:
    """What a choice depends on."""

    device: str
    dtype: str
    weights: str
    d: int
    m: int
    number: int
    k: int
    log2_tokens: int
    """Rounded up."""
    training: bool

    def __str__(self) -> str:
        return "|".join(str(value) for value in asdict(self).values())


@dataclass
class Table:
    """Measured seconds by case and kernel."""

    seconds: dict[str, dict[str, float]] = field(default_factory=dict)

    def fastest(self, case: Case) -> str | None:
        """The kernel to take, if the case was measured."""
        found = self.seconds.get(str(case))
        return min(found, key=found.__getitem__) if found else None

    def save(self, path: Path) -> None:
        path.write_text(json.dumps({"version": 1, "seconds": self.seconds}, indent=1, sort_keys=True))

    def load(self, path: Path) -> None:
        """Take over what ``save`` wrote; cases that are known already keep their figures."""
        try:
            read = json.loads(path.read_text())
            known = read["version"] == 1 and all(set(by) <= set(KERNELS) and by for by in read["seconds"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrainingError("no table of kernels can be read", where=str(path), fix="delete the file") from error
        if not known:
            raise TrainingError(
                "the table of kernels was written by another version", where=str(path), fix="delete the file"
            )
        self.seconds = read["seconds"] | self.seconds


TABLE = Table()
"""Of this process."""
save, load = TABLE.save, TABLE.load


def choose(
    x: Tensor, w_in: Tensor, experts: Tensor, number: int, *, dtype: torch.dtype, training: bool, table: Table = TABLE
) -> str:
    """The kernel for tokens ``x`` [N, d] through ``experts`` [N, k] of ``w_in`` [f, d]; measures where it must.

    Raises TrainingError where it would have to measure while a CUDA graph is recorded.
    """
    (tokens, d), k, m = x.shape, experts.shape[1], w_in.shape[0] // number
    if x.device.type != "cuda":
        return _on_cpu(tokens, d, m, number, k)
    case = Case(
        device=torch.cuda.get_device_name(x.device),
        dtype=str(dtype).removeprefix("torch."),
        weights=str(w_in.dtype).removeprefix("torch."),
        d=d,
        m=m,
        number=number,
        k=k,
        log2_tokens=max(tokens - 1, 0).bit_length(),
        training=training,
    )
    found = table.fastest(case)
    if found is None:
        if torch.cuda.is_current_stream_capturing():
            raise TrainingError(
                "a kernel cannot be measured while a CUDA graph is recorded",
                where=str(case),
                fix="call the layer once before recording, or name a kernel",
            )
        table.seconds[str(case)] = measure(usable(x.device, dtype), case, tokens, x.device)
        found = table.fastest(case)
        assert found is not None
    return found


def _on_cpu(tokens: int, d: int, m: int, number: int, k: int) -> str:
    busy = min(number, tokens * k)
    dense, sparse = tokens * number * m * d, tokens * k * m * d
    return "masked" if dense - sparse < SMALL * busy or 2 * k > number else "loop"


def measure(names: list[str], case: Case, tokens: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each kernel that gets through. Weights and data are random, and freed afterwards."""
    from training.sparse.ffn import sparse_ffn  # which imports this module

    generator = torch.Generator(device).manual_seed(0)
    dtype, weights = getattr(torch, case.dtype), getattr(torch, case.weights)

    def drawn(*shape: int, dtype: torch.dtype) -> Tensor:
        value = torch.randn(shape, device=device, dtype=dtype, generator=generator)
        return value.mul_(shape[-1] ** -0.5).requires_grad_(case.training)

    x, gradient = drawn(tokens, case.d, dtype=dtype), drawn(tokens, case.d, dtype=dtype).detach()
    w_in, w_out = (drawn(case.number * case.m, case.d, dtype=weights) for _ in range(2))
    scores = torch.rand(tokens, case.number, device=device, generator=generator)
    experts = scores.topk(case.k, dim=-1).indices
    gates = torch.ones(tokens, case.k, device=device, requires_grad=case.training)

    def step(kernel: str) -> None:
        with torch.autocast(device.type, dtype=dtype, enabled=weights != dtype), torch.set_grad_enabled(case.training):
            out = sparse_ffn(x, w_in, w_out, experts, gates, kernel=kernel, number=case.number)
        if case.training:
            torch.autograd.grad(out, (x, w_in, w_out, gates), gradient)

    found = {}
    for name in names:
        try:
            found[name] = seconds(lambda name=name: step(name), device)  # type: ignore[misc]
        except (RuntimeError, NotImplementedError, TrainingError) as error:
            # out of memory, or a shape that a kernel does not take: the others remain
            _log.warning("sparse kernel %s is left out for %s: %s", name, case, error)
    if not found:
        raise TrainingError("no sparse kernel gets through", where=str(case), fix="take fewer tokens at a time")
    return found


def seconds(function: Callable[[], object], device: torch.device, *, warm: int = WARM, timed: int = TIMED) -> float:
    """Median seconds of a call, after some that do not count. On a GPU by its own clock, waiting only at the end."""
    for _ in range(warm):
        function()
    if device.type != "cuda":
        taken = []
        for _ in range(timed):
            began = time.perf_counter()
            function()
            taken.append(time.perf_counter() - began)
        return median(taken)
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(timed)]
    for before, after in marks:
        before.record()
        function()
        after.record()
    torch.cuda.synchronize(device)
    return median(before.elapsed_time(after) for before, after in marks) / 1000
