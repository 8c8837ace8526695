"""Generation with a cache is the model run over everything each time; sparse as well as dense."""

from __future__ import annotations

import pytest
import torch

from corpus.errors import TrainingError
from tests.training.moefication.test_convert import made
from training.moefication.convert import divide
from training.moefication.generate import Generator
from training.moefication.layer import feed_forwards, running


def plainly(model, prompt, count):
    """The likeliest tokens, by the whole model over the whole text each time."""
    text = prompt
    for _ in range(count):
        text = torch.cat([text, model(text)[:, -1:].argmax(dim=-1)], dim=1)
    return text[:, prompt.shape[1] :]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 6])
def test_the_cache_changes_nothing(rows, sparse):
    model, _, _ = made()
    for layer in feed_forwards(model):
        divide(layer, None, seed=0, divided=False)
    prompt = torch.randint(0, 60, (rows, 5), generator=torch.Generator().manual_seed(rows))
    with running(feed_forwards(model), sparse=sparse), torch.no_grad():
        model.eval()
        generator = Generator(model, rows=rows, length=20)
        found = generator.generate(prompt, 15)
        assert torch.equal(found, plainly(model, prompt, 15))
        assert torch.equal(found, generator.generate(prompt, 15))  # what is left of the first does no harm
    assert len(found.unique()) > 3  # not one token for ever


def test_dense_and_sparse_are_different_answers():
    model, _, _ = made()
    for layer in feed_forwards(model):
        divide(layer, None, seed=0, divided=False)
    prompt = torch.randint(0, 60, (6, 5), generator=torch.Generator().manual_seed(6))
    answers = []
    for sparse in (False, True):
        with running(feed_forwards(model), sparse=sparse):
            answers.append(Generator(model, rows=6, length=20).generate(prompt, 15))
    assert not torch.equal(*answers)


def test_what_does_not_fit_is_refused():
    model, _, _ = made()
    with pytest.raises(TrainingError, match="3000 places, but the model is made for 2048"):
        Generator(model, length=3000)
    generator = Generator(model, length=10)
    for prompt, count in ((torch.zeros(2, 3, dtype=torch.int64), 2), (torch.zeros(1, 8, dtype=torch.int64), 3)):
        with pytest.raises(TrainingError, match="do not fit 1 rows of 10"):
            generator.generate(prompt, count)
