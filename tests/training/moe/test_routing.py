"""Routing against a slow reference, and what must hold of every assignment."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.moe.reference import slow_route
from training.moe.routing import balance_loss, capacity, route
from training.moe.settings import Mixture, Rectify


@st.composite
def cases(draw):
    """Logits of some ranks, with ties, crowds and few tokens; a mixture and a rectification."""
    experts, top_k = draw(st.sampled_from([(2, 1), (4, 1), (4, 2), (4, 3), (8, 2), (6, 3)]))
    ranks = draw(st.sampled_from([r for r in (1, 2, 3, 4) if experts % r == 0]))
    tokens = draw(st.integers(1, 24))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    logits = torch.randn(ranks, tokens, experts, generator=generator)
    kind = draw(st.sampled_from(["plain", "ties", "equal", "crowd", "extreme"]))
    if kind == "ties":
        logits = logits.round()
    elif kind == "equal":
        logits.zero_()
    elif kind == "crowd":
        logits[..., 1] += 9
    elif kind == "extreme":
        logits *= 200
    rectify = Rectify(
        intra=draw(st.booleans()),
        fill_in=draw(st.booleans()) and top_k < experts,
        reroute=draw(st.sampled_from(["all", "any", "real"])),
        nominees=draw(st.sampled_from(["own", "top"])),
    )
    factor = draw(st.sampled_from([0.1, 0.5, 1.0, 1.25, 2.0, 100.0]))
    if not rectify.intra and not rectify.fill_in and draw(st.booleans()):
        factor = None
    mixture = Mixture(experts=experts, top_k=top_k, ranks=ranks, capacity_factor=factor, rectify=rectify)
    return logits, mixture, rectify


@settings(max_examples=200, deadline=None)
@given(cases())
def test_it_is_the_slow_reference(case):
    logits, mixture, rectify = case
    found = route(logits, mixture, rectify)
    for rank in range(mixture.ranks):
        reached, stand_ins, queues, gates = slow_route(logits[rank], mixture, rectify, rank)
        held = [[] for _ in range(mixture.experts)]
        for token in range(logits.shape[1]):
            experts, places = found.experts[rank, token].tolist(), found.places[rank, token].tolist()
            kept = [number for number, place in enumerate(places) if place >= 0]
            assert [experts[number] for number in kept] == reached[token]
            for number in kept:
                held[experts[number]].append((places[number], (token, number)))
            stand_in = -1 if found.stand_in is None else int(found.stand_in[rank, token])
            assert (stand_in >= 0) == (stand_ins[token] is not None)
            terms = [(expert, 1) for expert in reached[token]]
            weights = [float(found.gates[rank, token, number]) for number in kept]
            if stand_ins[token]:
                assert stand_in == stand_ins[token][0]
                terms.append(stand_ins[token])
                weights.append(float(found.stand_in_gate[rank, token]))
            total = sum(times * gates[token][expert] for expert, times in terms)
            if total > 1e-30:
                wanted = [times * gates[token][expert] / total for expert, times in terms]
                assert weights == pytest.approx(wanted, rel=1e-4, abs=1e-6)
            assert sum(weights) == pytest.approx(1.0 if terms else 0.0, abs=1e-5)
        if mixture.capacity_factor is not None:
            assert [[claim for _, claim in sorted(queue)] for queue in held] == queues


@settings(max_examples=100, deadline=None)
@given(cases())
def test_slots_are_unique_and_never_more_than_the_capacity(case):
    logits, mixture, rectify = case
    found = route(logits, mixture, rectify)
    if found.capacity is None:
        assert (found.places >= 0).all()
        return
    assert found.places.max() < max(1, found.capacity)
    for rank in range(mixture.ranks):
        kept = found.places[rank] >= 0
        slots = list(zip(found.experts[rank][kept].tolist(), found.places[rank][kept].tolist(), strict=True))
        assert len(set(slots)) == len(slots)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_filling_in_takes_no_slot_from_a_choice(case):
    logits, mixture, rectify = case
    if mixture.top_k == mixture.experts or mixture.capacity_factor is None:
        return
    without, within = (
        route(logits, mixture, rectify.model_copy(update={"fill_in": fill_in})) for fill_in in (False, True)
    )
    assert torch.equal(within.experts[..., : mixture.top_k], without.experts)
    assert torch.equal(within.places[..., : mixture.top_k], without.places)
    assert ((within.places >= 0).sum() >= (without.places >= 0).sum()).item()


@settings(max_examples=50, deadline=None)
@given(cases(), st.integers(0, 10**6))
def test_ranks_do_not_touch_each_other(case, seed):
    logits, mixture, rectify = case
    before = route(logits, mixture, rectify)
    changed = logits.clone()
    changed[1:] = torch.randn(changed[1:].shape, generator=torch.Generator().manual_seed(seed))
    after = route(changed, mixture, rectify)
    for left, right in zip(before, after, strict=True):
        if isinstance(left, torch.Tensor):
            assert torch.equal(left[0], right[0])


@settings(max_examples=100, deadline=None)
@given(cases())
def test_gradients_are_numbers(case):
    logits, mixture, rectify = case
    logits.requires_grad_()
    found = route(logits, mixture, rectify)
    total = found.gates.sum() + balance_loss(logits, found, mixture.top_k)
    if found.stand_in_gate is not None:
        total = total + found.stand_in_gate.sum()
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(logits.grad).all()


def test_with_room_for_all_a_stand_in_changes_nothing():
    logits = torch.randn(2, 20, 4, generator=torch.Generator().manual_seed(0))
    mixture = Mixture(experts=4, top_k=2, ranks=2, capacity_factor=100.0)
    plain, intra = (route(logits, mixture, Rectify(intra=intra)) for intra in (False, True))
    for name in ("experts", "places", "gates"):
        assert torch.equal(getattr(plain, name), getattr(intra, name))
    assert (intra.stand_in == -1).all()
    assert not intra.stand_in_gate.any()


def test_first_choices_are_served_by_gate_and_second_ones_use_what_is_left():
    # expert 0 has two slots: tokens 1 and 2 want it most, token 0 comes too late, token 3 wants it second
    logits = torch.tensor([[[1.0, 0.0], [4.0, 1.0], [3.0, 1.0], [0.0, 9.0]]])
    mixture = Mixture(experts=2, top_k=2, capacity_factor=0.5)
    found = route(logits, mixture, mixture.rectify)
    assert found.capacity == 2
    assert found.experts[0, :, 0].tolist() == [0, 0, 0, 1]
    assert found.places[0].tolist() == [[-1, -1], [0, 1], [1, -1], [0, -1]]


@pytest.mark.parametrize(
    ("tokens", "experts", "top_k", "factor", "slots"),
    [
        (16, 8, 1, 1.0, 2),
        (17, 8, 1, 1.0, 3),
        (3, 8, 1, 1.0, 1),
        (16, 8, 2, 0.5, 2),
        (30, 1, 1, 0.1, 3),
        (4, 2, 1, 9.0, 4),
    ],
)
def test_capacity(tokens, experts, top_k, factor, slots):
    assert capacity(tokens, experts, top_k, factor) == slots


def test_an_even_load_has_the_balance_loss_one_and_a_crowd_more():
    mixture = Mixture(experts=4, capacity_factor=1.0)
    even = 20 * torch.eye(4)[None]
    assert float(balance_loss(even, route(even, mixture, mixture.rectify), 1)) == pytest.approx(1.0)
    crowd = even[:, :1].expand(1, 4, 4)
    assert float(balance_loss(crowd, route(crowd, mixture, mixture.rectify), 1)) == pytest.approx(4.0, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experts": 4, "ranks": 3}, "cannot be dealt out evenly to 3 ranks"),
        ({"experts": 2, "top_k": 3}, "too few for 3 choices"),
        ({"experts": 2, "top_k": 2, "rectify": Rectify(fill_in=True)}, "too few for 2 choices and the one"),
        ({"capacity_factor": None, "rectify": Rectify(intra=True)}, "nothing to rectify"),
    ],
)
def test_an_impossible_mixture_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Mixture(**changes)
