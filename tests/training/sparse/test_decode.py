"""Decoding without Triton: the masked layer, for one to four rows."""

# torch types only some of its methods
# mypy: allow-untyped-calls

from __future__ import annotations

import pytest
import torch

from corpus.errors import TrainingError
from tests.training.sparse.cases import apart, drawn, step
from training.sparse.decode import _copied, decode_ffn


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decoding_is_the_masked_layer(rows: int, dtype: torch.dtype) -> None:
    case = drawn(rows, 48, 12, 6, 3)._replace(gates=torch.ones(rows, 3)).to(dtype)
    wanted = step(case.to(torch.float32), "masked")["out"]
    bound = 1e-5 if dtype == torch.float32 else 1e-2
    found = decode_ffn(*case[:4], 6)
    assert found.dtype == dtype
    assert apart(found, wanted) < bound
    views = (case.w_in.view(6, 12, 48), case.w_out.view(6, 12, 48))
    assert apart(_copied(case.x, *views, case.experts), wanted) < bound


def test_decoding_keeps_no_graph() -> None:
    case = drawn(2, 16, 4, 4, 2)
    assert not decode_ffn(case.x, case.w_in.requires_grad_(), case.w_out, case.experts, 4).requires_grad


@pytest.mark.parametrize(("rows", "number", "message"), [(5, 4, "one to 4 rows"), (2, 5, "5 experts of one size")])
def test_what_cannot_be_decoded_is_refused(rows: int, number: int, message: str) -> None:
    case = drawn(rows, 16, 4, 4, 2)
    with pytest.raises(TrainingError, match=message):
        decode_ffn(*case[:4], number)
