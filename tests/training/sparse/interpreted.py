"""The Triton kernels, interpreted on a CPU. Run by ``test_triton`` in a process of its own: TRITON_INTERPRET=1 must be
set before Triton is imported, and holds for the whole process.

The interpreter multiplies bfloat16 as if its bits were integers, so that the narrow dtype here is float16.
"""

# torch types only some of its methods
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training.sparse.cases import apart, assert_near, drawn, poisoned, step
from training.sparse.decode import decode_ffn
from training.sparse.fused import Blocks, Fused, Plan, TiledPairs, pays_to_spread, pin, plan_for
from training.sparse.pairs import gather_sum as plain_sum

LARGE = Plan(128, up=Blocks(256, 64, 8, 3), back=Blocks(256, 64, 8, 3), down=Blocks(128, 64, 4, 3),
             weight=Blocks(256, 64, 8, 5))  # fmt: skip
MIDDLE = Plan(64, *[Blocks(64, 64, 4, 3)] * 4, spread=True)


@pytest.fixture(autouse=True)
def _poisoned() -> Iterator[None]:
    with poisoned():
        yield


@pytest.fixture
def pinned() -> Iterator[Callable[[int, int, Plan], None]]:
    """``pin`` for the length of a test."""
    places = []

    def until_then(d: int, m: int, plan: Plan) -> None:
        places.append((d, m))
        pin(d, m, plan)

    yield until_then
    for place in places:
        pin(*place, None)


@pytest.mark.parametrize(
    ("shape", "plan"),
    [
        ((37, 48, 20, 5, 2), None),  # tails in every direction
        ((33, 40, 24, 3, 3), MIDDLE),  # nothing divides, tiles larger than the loads
        ((150, 128, 64, 2, 1), MIDDLE),  # everything divides, several tiles for an expert
        ((260, 64, 256, 2, 1), LARGE),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_output_and_gradients_are_those_of_the_masked_layer(
    shape: tuple[int, ...], plan: Plan | None, dtype: torch.dtype, pinned: Callable[[int, int, Plan], None]
) -> None:
    if plan is not None:
        pinned(shape[1], shape[2], plan)
    case = drawn(*shape).to(dtype)
    found = step(case, "triton")
    assert_near(found, step(case.to(torch.float32), "masked"), 1e-5 if dtype == torch.float32 else 2e-3)


def test_the_same_input_gives_the_same_bits() -> None:
    case = drawn(30, 32, 16, 4, 3).to(torch.float16)
    found, again = step(case, "triton"), step(case, "triton")
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_all_experts_with_gates_of_one_are_the_dense_layer() -> None:
    case = drawn(20, 32, 16, 4, 4)._replace(gates=torch.ones(20, 4))
    wanted = (case.x @ case.w_in.t()).relu() @ case.w_out
    assert apart(step(case, "triton")["out"], wanted) < 1e-6


def test_experts_without_tokens_have_exact_zeros_as_gradients(pinned: Callable[[int, int, Plan], None]) -> None:
    pinned(32, 16, MIDDLE)
    busy = drawn(24, 32, 16, 5, 5)
    step(busy, "triton")  # leaves its results in the memory that comes next
    idle = busy.chosen(torch.stack([torch.arange(24) % 2, torch.full((24,), 3)], dim=1))
    found = step(idle, "triton")
    for name in ("w_in", "w_out"):
        assert not found[name].view(5, 16, 32)[[2, 4]].any()
    assert_near(found, step(idle, "masked"), 1e-5)


@pytest.mark.parametrize("expert", [0, 3])
def test_one_expert_may_take_all_tokens(expert: int, pinned: Callable[[int, int, Plan], None]) -> None:
    pinned(32, 16, MIDDLE)
    case = drawn(70, 32, 16, 4, 1).chosen(torch.full((70, 1), expert))
    assert_near(step(case, "triton"), step(case, "masked"), 1e-5)


def test_rows_beyond_the_last_are_neither_read_nor_written(pinned: Callable[[int, int, Plan], None]) -> None:
    """Matrices of rows end in NaN and in marks; neither a result nor a mark changes."""
    pinned(32, 16, MIDDLE)
    case, kernel = drawn(21, 32, 16, 3, 2), Fused()
    first = case.w_in.view(3, 16, 32)
    pairs = kernel.arrange(case.experts, first)
    inner = torch.full((42 + 64, 16), torch.nan)
    inner[:42] = kernel.up(case.x, first, pairs)
    found = kernel.expert_matmul(inner[:42], first, pairs)
    assert torch.equal(kernel.expert_matmul(inner, first, pairs)[:42], found)
    assert kernel.expert_matmul(inner, first, pairs)[42:].isnan().all()  # poison of the allocator, untouched
    assert kernel.weight_gradient(inner, case.x, pairs, torch.float32).isfinite().all()


def test_two_backward_passes_in_a_row_add_up() -> None:
    case = drawn(20, 32, 16, 4, 2)
    from training.sparse.ffn import sparse_ffn

    leaves = [one.clone().requires_grad_() for one in case[:3]]
    out = sparse_ffn(*leaves, case.experts, case.gates, kernel="triton", number=4).square().sum()
    out.backward(retain_graph=True)
    once = [one.grad.clone() for one in leaves if one.grad is not None]
    out.backward()
    for leaf, grad in zip(leaves, once, strict=True):
        assert leaf.grad is not None
        assert torch.equal(leaf.grad, 2 * grad)


def test_gradients_of_weights_have_the_dtype_of_the_weights() -> None:
    case = drawn(40, 32, 16, 4, 2)
    with torch.autocast("cpu", dtype=torch.float16):
        found = step(case, "triton")
    assert found.pop("out").dtype == torch.float16
    assert {value.dtype for value in found.values()} == {torch.float32}
    wanted = step(case, "masked")
    assert_near(found, {name: wanted[name] for name in found}, 2e-3)


# addresses


FAR = 2**30 + 24
"""Elements between rows: the third row lies beyond what 32 bits address."""


@pytest.fixture
def far(tmp_path: Path) -> Callable[[Tensor], Tensor]:
    """The same matrix of three rows, far apart in a file that is almost all hole."""

    def moved(rows: Tensor) -> Tensor:
        size = 2 * FAR + rows.shape[1]
        path = tmp_path / f"rows{len(list(tmp_path.iterdir()))}"
        storage = torch.from_file(str(path), shared=True, size=size, dtype=rows.dtype)
        placed = storage.as_strided(rows.shape, (FAR, 1))
        assert placed.stride(0) * 2 > 2**31
        placed.copy_(rows)
        return placed

    return moved


def arranged(kernel: Fused) -> tuple[Tensor, Tensor, TiledPairs]:
    """Three tokens, their first weights, one expert for each, so that there are three pairs too."""
    case = drawn(3, 32, 16, 2, 1).to(torch.float16).chosen(torch.tensor([[1], [0], [1]]))
    first = case.w_in.view(2, 16, 32)
    return case.x, first, kernel.arrange(case.experts, first)


def test_tokens_may_lie_beyond_32_bits(far: Callable[[Tensor], Tensor]) -> None:
    kernel = Fused()
    x, first, pairs = arranged(kernel)
    active, away = kernel.up(x, first, pairs), far(x)
    assert torch.equal(kernel.up(away, first, pairs), active)
    gates = torch.ones(3)
    near_by, from_afar = (kernel.up_backward(one, first, pairs, active, gates) for one in (x, away))
    assert all(torch.equal(one, other) for one, other in zip(near_by, from_afar, strict=True))
    wanted = kernel.weight_gradient(active, x, pairs, torch.float32)
    assert torch.equal(kernel.weight_gradient(active, away, pairs, torch.float32), wanted)


def test_pairs_may_lie_beyond_32_bits(far: Callable[[Tensor], Tensor]) -> None:
    kernel = Fused()
    x, first, pairs = arranged(kernel)
    active = kernel.up(x, first, pairs)
    away = far(active)
    rows = kernel.expert_matmul(active, first, pairs)
    assert torch.equal(kernel.expert_matmul(away, first, pairs), rows)
    wanted = kernel.weight_gradient(active, x, pairs, torch.float32)
    assert torch.equal(kernel.weight_gradient(away, x, pairs, torch.float32), wanted)
    assert torch.equal(kernel.gather_sum(far(rows), pairs, None), kernel.gather_sum(rows, pairs, None))


# plans


def test_sums_over_pairs_are_those_of_plain_torch() -> None:
    kernel = Fused()
    case = drawn(9, 40, 16, 5, 3)
    pairs = kernel.arrange(case.experts, case.w_in.view(5, 16, 40))
    rows = torch.randn(27, 40, generator=torch.Generator().manual_seed(0))
    assert apart(kernel.gather_sum(rows, pairs, case.gates), plain_sum(rows, pairs, case.gates)) < 1e-6
    assert apart(kernel.gather_sum(rows, pairs, None), plain_sum(rows, pairs, None)) < 1e-6


@pytest.mark.parametrize(("k", "f", "m", "pays"), [(8, 8192, 256, True), (2, 8192, 1024, False)])
def test_narrow_experts_that_share_tokens_run_side_by_side(k: int, f: int, m: int, pays: bool) -> None:
    plan = plan_for(2048, m, 32768 * k * m // f, torch.bfloat16)
    assert pays_to_spread(32768, k, f, m, plan) is pays


# decoding


@pytest.mark.parametrize("shape", [(1, 128, 64, 3, 2), (4, 48, 6, 5, 2), (2, 130, 66, 3, 1)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_decoding_is_the_masked_layer(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    case = drawn(*shape).to(dtype)
    case = case._replace(gates=torch.ones(case.gates.shape))
    found = decode_ffn(*case[:4], case.number)
    assert apart(found, step(case.to(torch.float32), "masked")["out"]) < (1e-5 if dtype == torch.float32 else 1e-3)
    assert torch.equal(found, decode_ffn(*case[:4], case.number))
