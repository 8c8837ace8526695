"""The router and the layer as the paper describes them, one token after the other: slow, to compare with."""

from __future__ import annotations

import math

import torch

from training.moe.layer import MoE
from training.moe.settings import Mixture, Rectify


def slow_route(logits, mixture: Mixture, rectify: Rectify, rank: int = 0):
    """Tokens of one rank, ``logits`` [n, E]. Returns, per token, the experts it reached, its stand-in and multiplicity;
    and per expert the claims that hold a slot, in the order in which they got it."""
    gates = logits.float().softmax(-1).tolist()
    scores = logits.float().log_softmax(-1).tolist()
    tokens, count = len(gates), mixture.experts
    fill = rectify.fill_in and mixture.capacity_factor is not None
    claims = [sorted(range(count), key=lambda e: -scores[t][e])[: mixture.top_k + fill] for t in range(tokens)]
    limit = math.inf
    if mixture.capacity_factor is not None:
        limit = math.ceil(round(mixture.capacity_factor * mixture.top_k * tokens / count, 9))
    queues = [[] for _ in range(count)]
    reached = [[] for _ in range(tokens)]
    for choice in range(mixture.top_k + fill):

        def priority(token, choice=choice):
            by_own = choice >= mixture.top_k and rectify.nominees == "own"
            return -scores[token][claims[token][choice if by_own else 0]]

        for token in sorted(range(tokens), key=priority):
            expert = claims[token][choice]
            if len(queues[expert]) < limit:
                queues[expert].append((token, choice))
                reached[token].append(expert)
    stand_ins = []
    local = range(rank * mixture.local, (rank + 1) * mixture.local)
    for token in range(tokens):
        r, k = len(reached[token]), mixture.top_k
        missing = {"real": max(0, k - r), "all": k if r == 0 else 0, "any": k + fill - r}[rectify.reroute]
        best = max(local, key=lambda e, t=token: (scores[t][e], -e))
        on = rectify.intra and mixture.capacity_factor is not None and missing
        stand_ins.append((best, missing) if on else None)
    return reached, stand_ins, queues, gates


def slow_layer(layer: MoE, x):
    """What ``layer`` should compute for ``x`` [tokens, hidden], with the gradients that it should have."""
    logits = x @ layer.router.weight.t()
    out = []
    parts = logits.chunk(layer.mixture.ranks)
    for rank, (part, rows) in enumerate(zip(parts, x.chunk(layer.mixture.ranks), strict=True)):
        reached, stand_ins, _, _ = slow_route(part.detach(), layer.mixture, layer.rectify, rank)
        gates = part.softmax(-1)
        for token in range(len(part)):
            terms = [(expert, 1) for expert in reached[token]] + ([stand_ins[token]] if stand_ins[token] else [])
            if not terms:
                out.append(torch.zeros_like(rows[token]))
                continue
            below = sum(times * gates[token, expert] for expert, times in terms).detach()
            above = sum(times * gates[token, e] * slow_expert(layer, e, rows[token]) for e, times in terms)
            out.append(above / below)
    return torch.stack(out)


def slow_expert(layer: MoE, expert: int, row):
    weights = {name: value[expert] for name, value in layer.experts.named_parameters()}
    if layer.experts.kind == "relu":
        return (row @ weights["w_in"].t()).relu() @ weights["w_out"]
    inner = torch.nn.functional.silu(weights["gate"] @ row) * (weights["up"] @ row)
    return weights["down"] @ inner
