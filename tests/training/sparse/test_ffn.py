"""Every kernel that runs on a CPU against the dense layer under a mask, and what a layer in training must bear."""

# torch types only some of its methods
# mypy: allow-untyped-calls

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from corpus.errors import TrainingError
from tests.training.sparse.cases import Case, apart, assert_near, drawn, poisoned, step
from training.sparse import products as offered
from training.sparse.bmm import overflow
from training.sparse.ffn import sparse_ffn
from training.sparse.products import products, usable

EXACT = ("loop", "bmm")
"""Kernels that take any dtype on a CPU."""
ALL = (*EXACT, "grouped")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _poisoned() -> Iterator[None]:
    with poisoned():
        yield


def dense(case: Case) -> Tensor:
    return (case.x @ case.w_in.t()).relu() @ case.w_out


@pytest.mark.parametrize("kernel", EXACT)
@pytest.mark.parametrize("shape", [(37, 24, 10, 5, 2), (64, 16, 8, 4, 4), (3, 8, 4, 16, 1), (1, 8, 16, 4, 2)])
def test_output_and_gradients_are_those_of_the_masked_layer(kernel: str, shape: tuple[int, ...]) -> None:
    case = drawn(*shape)
    assert_near(step(case, kernel), step(case, "masked"), 1e-5)


@pytest.mark.parametrize("kernel", ALL)
def test_bfloat16_is_as_near_as_its_digits(kernel: str) -> None:
    case = drawn(200, 64, 48, 4, 2).to(torch.bfloat16)
    assert_near(step(case, kernel), step(case.to(torch.float32), "masked"), 1e-2)


@pytest.mark.parametrize("kernel", ("masked", *EXACT))
def test_all_experts_with_gates_of_one_are_the_dense_layer(kernel: str) -> None:
    case = drawn(50, 24, 8, 6, 6)
    case = case._replace(gates=torch.ones(50, 6))
    leaves = [one.clone().requires_grad_() for one in case[:3]]
    wanted = dense(case._replace(x=leaves[0], w_in=leaves[1], w_out=leaves[2]))
    direction = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(7))
    gradients = torch.autograd.grad(wanted, leaves, direction)
    found = step(case, kernel)
    assert_near(found, dict(zip(("out", "x", "w_in", "w_out"), (wanted.detach(), *gradients), strict=True)), 1e-6)


@pytest.mark.parametrize("kernel", ("masked", *EXACT))
def test_some_experts_are_the_dense_layer_with_a_mask_of_zeros_and_ones(kernel: str) -> None:
    case = drawn(50, 24, 8, 6, 2)
    case = case._replace(gates=torch.ones(50, 2))
    mask = torch.zeros(50, 6).scatter(1, case.experts, 1.0).repeat_interleave(8, dim=1)
    wanted = ((case.x @ case.w_in.t()).relu() * mask) @ case.w_out
    assert apart(step(case, kernel)["out"], wanted) < 1e-6


@pytest.mark.parametrize("kernel", ALL)
def test_experts_without_tokens_have_exact_zeros_as_gradients(kernel: str) -> None:
    busy = drawn(64, 16, 8, 5, 5).to(torch.bfloat16)
    step(busy, kernel)  # leaves its results in the memory that comes next
    experts = torch.stack([torch.arange(64) % 2, torch.full((64,), 3)], dim=1)
    idle = busy.chosen(experts)
    found, wanted = step(idle, kernel), step(idle.to(torch.float32), "masked")
    for name in ("w_in", "w_out"):
        blocks = found[name].view(5, 8, 16)
        assert not blocks[[2, 4]].any()
        assert blocks[[0, 1, 3]].any(dim=(1, 2)).all()
    assert_near(found, wanted, 1e-2)


@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize("expert", [0, 2, 4])
def test_one_expert_may_take_all_tokens(kernel: str, expert: int) -> None:
    case = drawn(45, 16, 8, 5, 1).chosen(torch.full((45, 1), expert)).to(torch.bfloat16)
    assert_near(step(case, kernel), step(case.to(torch.float32), "masked"), 1e-2)


@pytest.mark.parametrize("kernel", ("masked", *ALL))
def test_the_same_input_gives_the_same_bits(kernel: str) -> None:
    case = drawn(100, 32, 16, 6, 3).to(torch.bfloat16)
    first, second = step(case, kernel), step(case, kernel)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kernel", EXACT)
def test_a_token_that_is_not_a_number_reaches_its_own_experts_only(kernel: str) -> None:
    case = drawn(30, 16, 8, 5, 2)
    case.x[0] = torch.nan
    found = step(case, kernel)
    spoilt = {int(expert) for expert in case.experts[0]}
    assert found["out"][1:].isfinite().all()
    for expert in range(5):
        assert found["w_out"].view(5, 8, 16)[expert].isfinite().all() == (expert not in spoilt)


@pytest.mark.parametrize("kernel", EXACT)
def test_numerical_gradients_agree(kernel: str) -> None:
    case = drawn(6, 5, 3, 4, 2).to(torch.float64)
    leaves = [one.clone().requires_grad_() for one in (*case[:3], case.gates.double())]

    def layer(x: Tensor, w_in: Tensor, w_out: Tensor, gates: Tensor) -> Tensor:
        return sparse_ffn(x, w_in, w_out, case.experts, gates, kernel=kernel, number=4)

    assert torch.autograd.gradcheck(layer, leaves)


@pytest.mark.parametrize("kernel", EXACT)
def test_gates_of_value_one_carry_gradient_to_their_logits(kernel: str) -> None:
    case, found = drawn(20, 16, 8, 5, 2), []
    for name in (kernel, "masked"):
        logits = torch.linspace(-1, 1, 40).view(20, 2).requires_grad_()
        share = logits.softmax(-1)
        gates = 1 + share - share.detach()
        out = sparse_ffn(*case[:4], gates, kernel=name, number=5)
        found.append(torch.autograd.grad(out.square().sum(), logits)[0])
    assert found[1].any()
    assert apart(*found) < 1e-5


@pytest.mark.parametrize("kernel", EXACT)
def test_two_backward_passes_in_a_row_add_up(kernel: str) -> None:
    case = drawn(20, 16, 8, 5, 2)
    leaves = [one.clone().requires_grad_() for one in case[:3]]
    out = sparse_ffn(*leaves, case.experts, case.gates, kernel=kernel, number=5).square().sum()
    out.backward(retain_graph=True)
    once = [one.grad.clone() for one in leaves if one.grad is not None]
    out.backward()
    sparse_ffn(*leaves, case.experts, case.gates, kernel=kernel, number=5).square().sum().backward()
    for leaf, grad in zip(leaves, once, strict=True):
        assert leaf.grad is not None
        assert apart(leaf.grad, 3 * grad) < 1e-6


@pytest.mark.parametrize("kernel", EXACT)
@pytest.mark.parametrize("learnt", ["x", "w_in", "w_out", "gates"])
def test_only_what_is_learnt_gets_a_gradient(kernel: str, learnt: str) -> None:
    case = drawn(20, 16, 8, 5, 2)
    values = {name: getattr(case, name).clone() for name in ("x", "w_in", "w_out", "gates")}
    values[learnt].requires_grad_()
    sum_of = sparse_ffn(**values, experts=case.experts, kernel=kernel, number=5).sum()
    sum_of.backward()  # whose gradient has stride zero
    assert [name for name, value in values.items() if value.grad is not None] == [learnt]
    assert values[learnt].grad is not None
    assert values[learnt].grad.isfinite().all()


@pytest.mark.parametrize("kernel", EXACT)
def test_inference_stores_nothing_and_training_no_outputs_of_experts(kernel: str) -> None:
    case, stored = drawn(32, 16, 4, 8, 4), []

    def keep(value: Tensor) -> Tensor:
        stored.append(value.numel())
        return value

    weights = [one.clone().requires_grad_() for one in case[1:3]]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        with torch.no_grad():
            assert not sparse_ffn(case.x, *weights, case.experts, case.gates, kernel=kernel, number=8).requires_grad
        assert not stored
        sparse_ffn(case.x, *weights, case.experts, case.gates, kernel=kernel, number=8)
    assert stored
    assert max(stored) < 32 * 4 * 16


@pytest.mark.parametrize("kernel", ("auto", "masked", *ALL))
def test_autocast_computes_in_its_dtype_and_returns_gradients_in_that_of_the_weights(kernel: str) -> None:
    case = drawn(64, 32, 16, 4, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = step(case, kernel)
    assert found.pop("out").dtype == torch.bfloat16
    assert {value.dtype for value in found.values()} == {torch.float32}
    wanted = step(case, "masked")
    assert_near(found, {name: wanted[name] for name in found}, 1e-2)


@pytest.mark.parametrize("kernel", ("auto", *ALL))
def test_no_tokens_give_no_output(kernel: str) -> None:
    case = drawn(0, 16, 8, 5, 2)
    found = step(case, kernel)
    assert found["out"].shape == (0, 16)
    assert not found["w_in"].any()


@pytest.mark.parametrize("kernel", EXACT)
def test_rows_may_lie_apart(kernel: str) -> None:
    case = drawn(20, 16, 8, 5, 2)
    apart_by = torch.zeros(20, 40)
    apart_by[:, 3:19] = case.x
    turned = case.x.t().contiguous().t()
    wanted = step(case, "masked")["out"]
    for x in (apart_by[:, 3:19], turned):
        assert apart(sparse_ffn(x, *case[1:5], kernel=kernel, number=5), wanted) < 1e-5


def test_a_large_capacity_drops_nothing() -> None:
    case = drawn(40, 16, 8, 4, 2)
    assert overflow(case.experts, 4, 4.0) == 0
    assert_near(step(case, "bmm", capacity_factor=4.0), step(case, "masked"), 1e-5)


def test_pairs_beyond_the_capacity_are_dropped_and_counted() -> None:
    case = drawn(40, 16, 8, 4, 2).chosen(torch.tensor([[0, 1]]).expand(40, 2).contiguous())
    # 80 pairs, 4 experts: places for 20 in each; the last 20 tokens lose both of theirs
    assert overflow(case.experts, 4, 1.0) == 40
    found = step(case, "bmm", capacity_factor=1.0)
    kept = case._replace(x=case.x[:20], experts=case.experts[:20], gates=case.gates[:20])
    assert apart(found["out"][:20], step(kept, "masked")["out"]) < 1e-5
    assert not found["out"][20:].any()
    assert not found["x"][20:].any()
    assert not found["gates"][20:].any()
    masked = case._replace(gates=case.gates * (torch.arange(40) < 20)[:, None])
    wanted = step(masked, "masked")
    assert_near(found, {name: wanted[name] for name in ("w_in", "w_out")}, 1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w_out": torch.zeros(40, 15)}, "no inputs and weights"),
        ({"x": torch.zeros(2, 3, 16)}, "no inputs and weights"),
        ({"number": 7}, "40 neurons cannot be divided into 7"),
        ({"gates": torch.ones(20, 3)}, "as many gates as experts"),
        ({"experts": torch.zeros(20, 2, dtype=torch.int32)}, "cannot be chosen"),
        ({"x": torch.zeros(20, 16, dtype=torch.float64)}, "inputs are torch.float64"),
        ({"kernel": "best"}, "does not exist"),
        ({"kernel": "grouped"}, "bfloat16 only"),
        ({"kernel": "loop", "capacity_factor": 1.0}, "drops nothing"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"kernel": "loop", **drawn(20, 16, 8, 5, 2)._asdict(), **change}
    with pytest.raises(TrainingError, match=message):
        sparse_ffn(**values)  # type: ignore[arg-type]


def test_grouped_products_say_which_sizes_they_take() -> None:
    case = drawn(20, 16, 6, 5, 2).to(torch.bfloat16)
    with pytest.raises(TrainingError, match="multiples of 8"):
        step(case, "grouped")


def test_a_kernel_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offered, "has_triton", lambda: False)
    with pytest.raises(TrainingError, match="pip install triton"):
        products("triton", CPU, torch.float32)
    assert "triton" not in usable(CPU, torch.float32)


def test_triton_on_a_cpu_says_that_it_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offered, "has_triton", lambda: True)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(TrainingError, match="needs a GPU"):
        products("triton", CPU, torch.float32)


def test_layers_work_where_triton_is_not_installed() -> None:
    program = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "triton":
            raise ModuleNotFoundError("No module named 'triton'", name="triton")
sys.meta_path.insert(0, Without())
import torch
import training.sparse.dispatch
from training.sparse.decode import decode_ffn
from training.sparse.ffn import sparse_ffn
x, w, experts = torch.ones(2, 8), torch.ones(16, 8), torch.tensor([[0], [1]])
a = sparse_ffn(x, w, w, experts, torch.ones(2, 1), number=2)
b = decode_ffn(x, w, w, experts, 2)
assert torch.equal(a, b) and "triton" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
