"""From router logits to who computes what: choices, slots, fill-ins, stand-ins and gates (arXiv 2402.12399, section 3).

Pure functions over the tokens of R ranks at once, logits [R, n, E]; no rank's outcome depends on another's tokens.
Everything is sorts, gathers and integer scatters without order: deterministic, and equal gates go by position (of
tokens) or number (of experts). Cost: one stable sort of n * E logits and of n * K claims per rank.

    claim      a token's nomination of an expert: its k choices and, with filling in, the (k + 1)-th
    slot       a row in the buffer that an expert has for one rank; C of them
    place      number of the slot within the buffer
    stand-in   an expert of the token's own rank that computes it in place of those without a slot for it
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from training.moe.settings import Mixture, Rectify


class Routes(NamedTuple):
    """Where the tokens of R ranks go: n tokens each, K claims per token, E experts."""

    experts: Tensor
    """[R, n, K] the experts that are claimed, best first"""
    places: Tensor
    """[R, n, K] place that a claim won, -1 where it was dropped; without capacities just 0"""
    gates: Tensor
    """[R, n, K] float32 weight of the expert's output; 0 where the claim was dropped"""
    capacity: int | None
    """Slots per rank and expert; None: no limit."""
    stand_in: Tensor | None
    """[R, n] the expert that stands in, -1 for none; None: nothing is rerouted."""
    stand_in_gate: Tensor | None
    """[R, n] float32"""


def capacity(tokens: int, experts: int, top_k: int, factor: float) -> int:
    """Slots per rank and expert: ceil(factor * k * n / E), at most one per token, as none claims an expert twice."""
    # rounded first: 0.1 * 3 * 10 / 1 must not become 4
    return min(tokens, math.ceil(round(factor * top_k * tokens / experts, 9)))


def route(logits: Tensor, mixture: Mixture, rectify: Rectify, *, first_rank: int = 0) -> Routes:
    """Route the tokens of ranks ``first_rank``, ``first_rank`` + 1, ...; ``logits`` [R, n, E].

    ``rectify`` may differ from the mixture's own: a router can be rectified in use only.
    """
    scores = logits.float().log_softmax(dim=-1)
    limited = mixture.capacity_factor is not None
    fill_in, intra = rectify.fill_in and limited, rectify.intra and limited
    claims, claimed = _claims(scores, mixture.top_k + fill_in)
    slots = None
    places = torch.zeros_like(claims)
    if mixture.capacity_factor is not None:
        slots = capacity(logits.shape[1], mixture.experts, mixture.top_k, mixture.capacity_factor)
        places = _queue(claims, _priorities(claimed.detach(), mixture.top_k, rectify), mixture.experts)
        places = places.masked_fill(places >= slots, -1)
    kept = places >= 0
    if not intra:
        return Routes(claims, places, _shares(claimed, kept, None, None)[0], slots, None, None)
    missing = _missing(kept, mixture.top_k, rectify)
    expert, score = _nearest(scores, mixture.local, first_rank)
    gates, gate = _shares(claimed, kept, score, missing)
    return Routes(claims, places, gates, slots, expert.masked_fill(missing == 0, -1), gate)


def balance_loss(logits: Tensor, routes: Routes, top_k: int) -> Tensor:
    """Mean over ranks of E * sum_e(share of choices of e * mean gate of e): 1 where both are even.

    Switch Transformer, equation 4; with k > 1 over all choices. Choices count before any is dropped.
    """
    experts = logits.shape[-1]
    chosen = _loads(routes.experts[..., :top_k].flatten(1), experts)
    shares = chosen / chosen.sum(dim=-1, keepdim=True)
    means = logits.float().softmax(dim=-1).mean(dim=1)
    return experts * (shares * means).sum(dim=-1).mean()


def _claims(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` best experts of each token and the log of their gates: [R, n, count] each."""
    # not topk: which of equal values it takes is not said
    values, order = scores.sort(dim=-1, descending=True, stable=True)
    return order[..., :count], values[..., :count]


def _priorities(claimed: Tensor, top_k: int, rectify: Rectify) -> Tensor:
    """[R, n, K]: the real choices of a token compete by its largest gate; who fills in by its own or that one."""
    top = claimed[..., :1].expand_as(claimed)
    if rectify.nominees == "top":
        return top
    return torch.cat([top[..., :top_k], claimed[..., top_k:]], dim=-1)


def _queue(claims: Tensor, priorities: Tensor, experts: int) -> Tensor:
    """How many claims on the same expert come before each: [R, n, K].

    First choices come before second ones and so on; within a choice the larger priority comes first. What fills in is
    last: it never takes a slot from a choice.
    """
    ranks, tokens, count = claims.shape
    order = priorities.transpose(1, 2).argsort(dim=-1, descending=True, stable=True)
    queued = claims.transpose(1, 2).gather(-1, order).reshape(ranks, -1)
    by_expert = queued.argsort(dim=-1, stable=True)
    loads = _loads(queued, experts)
    starts = (loads.cumsum(dim=-1) - loads).gather(-1, queued.gather(-1, by_expert))
    ranked = torch.arange(tokens * count, device=claims.device) - starts
    places = torch.empty_like(queued).scatter(-1, by_expert, ranked).view(ranks, count, tokens)
    return torch.empty_like(places).scatter(-1, order, places).transpose(1, 2)


def _loads(claims: Tensor, experts: int) -> Tensor:
    """Claims on each expert; ``claims`` [R, any], result [R, E]."""
    loads = torch.zeros(len(claims), experts, dtype=torch.int64, device=claims.device)
    return loads.scatter_add_(-1, claims, torch.ones_like(claims))


def _missing(kept: Tensor, top_k: int, rectify: Rectify) -> Tensor:
    """For how many experts a stand-in counts, 0 for none: [R, n]. Experts reached by filling in count as reached."""
    reached = kept.sum(dim=-1)
    if rectify.reroute == "any":
        return kept.shape[-1] - reached
    missing = (top_k - reached).clamp(min=0)
    return missing.masked_fill(reached > 0, 0) if rectify.reroute == "all" else missing


def _nearest(scores: Tensor, local: int, first_rank: int) -> tuple[Tensor, Tensor]:
    """The best expert among those of each token's own rank, and the log of its gate: [R, n] each."""
    ranks, tokens, experts = scores.shape
    own = torch.arange(first_rank, first_rank + ranks, device=scores.device)
    by_rank = scores.view(ranks, tokens, experts // local, local)
    mine = by_rank.gather(2, own[:, None, None, None].expand(ranks, tokens, 1, local)).squeeze(2)
    values, order = mine.sort(dim=-1, descending=True, stable=True)
    return order[..., 0] + own[:, None] * local, values[..., 0]


def _shares(claimed: Tensor, kept: Tensor, score: Tensor | None, missing: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weights of the experts that a token reached, and of its stand-in (equation A4): they sum to one.

    The denominator is a constant to the gradient (equation A5): an expert that is alone has the weight 1 and still
    teaches the router. All in logarithms, so that no gate is too small to divide by.
    """
    parts, present = claimed, kept
    if score is not None and missing is not None:
        # k - r shares of one expert: a term log(k - r) beside its logit
        many = score + missing.clamp(min=1).to(score.dtype).log()
        parts, present = torch.cat([claimed, many[..., None]], -1), torch.cat([kept, missing[..., None] > 0], -1)
    total = parts.detach().masked_fill(~present, -math.inf).logsumexp(dim=-1, keepdim=True)
    total = total.masked_fill(total == -math.inf, 0.0)
    # masked before exp as well: what is dropped must not overflow, for its gradient would be no number
    weights = (parts - total).masked_fill(~present, -math.inf).exp()
    return weights[..., : claimed.shape[-1]], weights[..., -1]
