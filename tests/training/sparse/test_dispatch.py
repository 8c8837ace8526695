"""Which kernel is taken: by a rule on a CPU, by measurement on a GPU, and by the table where there is one."""

# torch types only some of its methods
# mypy: allow-untyped-calls

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from corpus.errors import TrainingError
from training.sparse.dispatch import Case, Table, choose, measure, seconds

CASE = Case("cpu", "float32", "float32", d=16, m=8, number=4, k=2, log2_tokens=6, training=True)
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("tokens", "d", "f", "number", "k", "kernel"),
    [
        (2048, 256, 2048, 32, 6, "loop"),
        (2048, 64, 512, 32, 8, "loop"),
        (1, 2048, 8192, 32, 6, "loop"),
        (1, 64, 512, 32, 6, "masked"),
        (16, 64, 512, 32, 6, "masked"),
        (2048, 256, 2048, 32, 16, "loop"),
        (2048, 256, 2048, 32, 17, "masked"),
        (2048, 256, 2048, 32, 32, "masked"),
    ],
)
def test_on_a_cpu_a_rule_decides(tokens: int, d: int, f: int, number: int, k: int, kernel: str) -> None:
    x, w_in, experts = torch.empty(tokens, d), torch.empty(f, d), torch.zeros(tokens, k, dtype=torch.int64)
    found = {choose(x, w_in, experts, number, dtype=torch.float32, training=training) for training in (True, False)}
    assert found == {kernel}


def test_measuring_takes_none_of_the_runs_random_numbers() -> None:
    state = torch.get_rng_state()
    found = measure(["masked", "loop", "bmm"], CASE, 64, CPU)
    assert set(found) == {"masked", "loop", "bmm"}
    assert min(found.values()) > 0
    assert torch.equal(torch.get_rng_state(), state)


def test_a_kernel_that_does_not_get_through_is_left_out() -> None:
    found = measure(["masked", "grouped", "loop"], CASE, 64, CPU)  # grouped takes bfloat16 only
    assert set(found) == {"masked", "loop"}


def test_no_kernel_at_all_is_an_error() -> None:
    with pytest.raises(TrainingError, match="no sparse kernel gets through"):
        measure(["grouped"], CASE, 64, CPU)


def test_measuring_works_under_autocast_and_without_gradients() -> None:
    case = replace(CASE, dtype="bfloat16", training=False)
    with torch.no_grad():
        assert set(measure(["masked", "grouped"], case, 64, CPU)) == {"masked", "grouped"}


def test_a_table_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    table = Table({str(CASE): {"masked": 2.0, "loop": 1.0}})
    table.save(tmp_path / "kernels.json")
    other = Table({"another": {"bmm": 1.0}})
    other.load(tmp_path / "kernels.json")
    assert other.fastest(CASE) == "loop"
    assert set(other.seconds) == {str(CASE), "another"}
    assert other.fastest(replace(CASE, training=False)) is None


def test_what_was_measured_here_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    Table({str(CASE): {"masked": 1.0}}).save(tmp_path / "kernels.json")
    table = Table({str(CASE): {"loop": 1.0}})
    table.load(tmp_path / "kernels.json")
    assert table.fastest(CASE) == "loop"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "seconds": 3}'])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kernels.json"
    path.write_text(text)
    with pytest.raises(TrainingError, match="no table of kernels"):
        Table().load(path)


@pytest.mark.parametrize(
    "text", ['{"version": 2, "seconds": {}}', '{"version": 1, "seconds": {"case": {"cublas": 1.0}}}']
)
def test_a_table_of_another_version_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kernels.json"
    path.write_text(text)
    with pytest.raises(TrainingError, match="another version"):
        Table().load(path)


def test_calls_that_warm_up_do_not_count() -> None:
    calls: list[int] = []
    assert seconds(lambda: calls.append(1), CPU, warm=2, timed=3) < 1
    assert len(calls) == 5
