"""Seeded inputs of a sparse feed-forward, its output and gradients, and how far two tensors are apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from training.sparse.ffn import sparse_ffn


class Case(NamedTuple):
    x: Tensor
    w_in: Tensor
    w_out: Tensor
    experts: Tensor
    gates: Tensor
    number: int

    def to(self, dtype: torch.dtype) -> Case:
        return self._replace(x=self.x.to(dtype), w_in=self.w_in.to(dtype), w_out=self.w_out.to(dtype))

    def chosen(self, experts: Tensor) -> Case:
        """With these experts; gates as far as there are any, then ones."""
        gates = torch.ones(experts.shape)
        width = min(experts.shape[1], self.gates.shape[1])
        gates[:, :width] = self.gates[:, :width]
        return self._replace(experts=experts, gates=gates)


def drawn(tokens: int, d: int, m: int, number: int, k: int, *, seed: int = 0) -> Case:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return Case(
        x=random(tokens, d),
        w_in=random(number * m, d) * d**-0.5,
        w_out=random(number * m, d) * m**-0.5,
        experts=torch.rand(tokens, number, generator=generator).topk(k, dim=-1).indices,
        gates=0.5 + torch.rand(tokens, k, generator=generator),
        number=number,
    )


def step(case: Case, kernel: str, **how: float) -> dict[str, Tensor]:
    """The output, and the gradients of a fixed random direction in it."""
    names = ("x", "w_in", "w_out", "gates")
    leaves = {name: getattr(case, name).detach().clone().requires_grad_() for name in names}
    out = sparse_ffn(**leaves, experts=case.experts, number=case.number, kernel=kernel, **how)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).to(out.dtype)
    gradients = torch.autograd.grad(out, list(leaves.values()), direction)
    return {"out": out.detach()} | dict(zip(names, gradients, strict=True))


def apart(found: Tensor, wanted: Tensor) -> float:
    """Relative distance in the Frobenius norm; NaN counts as infinitely far."""
    distance = ((found.double() - wanted.double()).norm() / wanted.double().norm().clamp(min=1e-30)).item()
    return distance if distance == distance else float("inf")


def assert_near(found: dict[str, Tensor], wanted: dict[str, Tensor], bound: float) -> None:
    errors = {name: apart(found[name], wanted[name]) for name in wanted}
    assert max(errors.values()) < bound, errors


@contextmanager
def poisoned() -> Iterator[None]:
    """Within it fresh memory holds NaN, and operations whose result depends on chance raise."""
    torch.use_deterministic_algorithms(mode=True)
    try:
        assert torch.empty(3).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(mode=False)
