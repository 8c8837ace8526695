"""A feed-forward of experts behind a router with slots (arXiv 2402.12399), in place of a block's dense one.

Rows go into buffers of fixed sizes, one slot each, all experts at once (``torch.bmm``). Only what has no fixed size by
its nature, stand-ins and dropless routing, is computed expert by expert; the device is waited for once.
Rows move by gathers forwards and backwards: sums have one order, on a GPU as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn

from corpus.errors import TrainingError
from training.moe.experts import Experts
from training.moe.routing import Routes, balance_loss, route
from training.moe.settings import Mixture
from training.shape import LlamaShape

if TYPE_CHECKING:
    from training.moe.parallel import Spread


class Tally(NamedTuple):
    """What happened to the tokens of a layer, as counts: int64 tensors."""

    tokens: Tensor
    dropped: Tensor
    """Tokens that reached no expert, before any stand-in."""
    choices_dropped: Tensor
    """Of top_k per token."""
    slots: Tensor
    padded: Tensor
    """Slots that no token is in."""
    filled: Tensor
    """Slots that Fill-in Rectification gave away."""
    rerouted: Tensor
    """Tokens with a stand-in."""
    crossed: Tensor
    """Rows in slots of another rank's expert: each is sent there and back."""
    load: Tensor
    """[E] choices of each expert, before any is dropped"""


class _Take(torch.autograd.Function):
    """``rows[index]``, zeros for -1. ``back`` [rows, copies] says where each row went: gradients are gathered, too."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return _gathered(rows, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (back,) = ctx.saved_tensors
        found = _gathered(gradients[0], back.flatten())
        return found.view(*back.shape, -1).sum(dim=1), None, None


def _gathered(rows: Tensor, index: Tensor) -> Tensor:
    if not len(rows):
        return rows.new_zeros(len(index), rows.shape[1])
    return rows[index.clamp(min=0)].masked_fill_((index < 0)[:, None], 0)


class MoE(nn.Module):
    """Experts and their router. ``penalty`` and ``tally`` tell of the last forward passes."""

    def __init__(self, shape: LlamaShape, mixture: Mixture) -> None:
        super().__init__()
        self.mixture, self.rectify = mixture, mixture.rectify
        self.router = nn.Linear(shape.hidden, mixture.experts, bias=False)
        self.experts = Experts(shape, mixture.experts)
        self.spread: Spread | None = None
        """Where experts are dealt out to several processes: the way to them."""
        self.penalty: Tensor | None = None
        """Load-balance loss of the last forward pass, weighted."""
        self.tally: Tally | None = None
        """Of all forward passes in training since it was last set to None."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor, intermediate: Tensor | None = None) -> Tensor:
        """``x`` [rows, length, hidden]: its tokens are cut into equal parts, in order, one for each rank.

        Raises ``TrainingError`` where they cannot be, and for masks of pruning.
        """
        if intermediate is not None:
            raise TrainingError("a mixture of experts cannot be pruned", fix="prune the dense model, then upcycle it")
        flat = x.reshape(-1, x.shape[-1])
        here = self.mixture.ranks // (self.spread.world if self.spread else 1)
        if len(flat) % here:
            raise TrainingError(
                f"{len(flat)} tokens cannot be cut into {here} equal parts, one for each rank",
                fix="let the row length be a multiple of the mixture's `ranks`",
            )
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(flat.float(), self.router.weight).view(here, -1, self.mixture.experts)
            first = self.spread.rank * here if self.spread else 0
            routes = route(logits, self.mixture, self.rectify, first_rank=first)
        if self.training:
            self.penalty = self.mixture.balance * balance_loss(logits, routes, self.mixture.top_k)
            found = _tally(routes, self.mixture, first)
            self.tally = found if self.tally is None else Tally(*map(torch.add, self.tally, found))
        rows = flat.to(torch.get_autocast_dtype(x.device.type)) if torch.is_autocast_enabled(x.device.type) else flat
        claimed = self._in_slots(rows, routes) if routes.capacity is not None else self._without_limit(rows, routes)
        out = (claimed * routes.gates.flatten(0, 1)[..., None]).sum(dim=1)
        if routes.stand_in is not None:
            out = self._stand_in(out, rows, routes)
        return out.to(x.dtype).view_as(x)

    def _in_slots(self, rows: Tensor, routes: Routes) -> Tensor:
        """What the experts of each claim make of its token, zeros where it was dropped: [tokens, K, hidden]."""
        ranks, tokens, count = routes.experts.shape
        capacity, experts = routes.capacity or 0, self.mixture.experts
        rank = torch.arange(ranks, device=rows.device)[:, None, None]
        kept = routes.places >= 0
        slots = (routes.experts * ranks + rank) * capacity + routes.places
        slots = slots.masked_fill(~kept, -1).view(-1, count)  # [tokens, K]
        size = experts * ranks * capacity
        # one slot more, where the claims without one go
        claims = torch.full((size + 1,), -1, device=rows.device)
        numbers = torch.arange(slots.numel(), device=rows.device)
        claims = claims.scatter(0, slots.flatten().masked_fill(slots.flatten() < 0, size), numbers)[:size]
        buffers = _Take.apply(rows, claims.div(count, rounding_mode="floor"), slots)
        buffers = buffers.view(experts, ranks * capacity, -1)
        computed = self.experts(buffers) if self.spread is None else self._elsewhere(buffers)
        taken = _Take.apply(computed.reshape(size, -1), slots.flatten(), claims[:, None])
        return taken.view(ranks * tokens, count, -1)

    def _elsewhere(self, buffers: Tensor) -> Tensor:
        assert self.spread is not None
        return self.spread.back(self.experts(self.spread.there(buffers)))

    def _without_limit(self, rows: Tensor, routes: Routes) -> Tensor:
        """The same where every claim is served: [tokens, K, hidden]."""
        claims = routes.experts.flatten(0, 1)  # [tokens, K]
        order = claims.flatten().argsort(stable=True)
        inverse = order.argsort()
        sorted_rows = _Take.apply(rows, order // claims.shape[1], inverse.view_as(claims))
        counts = torch.bincount(claims.flatten(), minlength=self.mixture.experts)
        if self.spread is None:
            computed = self.experts.ragged(sorted_rows, counts.tolist())
        else:
            computed = self.spread.ragged(sorted_rows, counts, self.experts)
        return _Take.apply(computed, inverse, order[:, None]).view(*claims.shape, -1)

    def _stand_in(self, out: Tensor, rows: Tensor, routes: Routes) -> Tensor:
        """``out`` with the shares of the stand-ins."""
        assert routes.stand_in is not None
        assert routes.stand_in_gate is not None
        here = self.mixture.experts // (self.spread.world if self.spread else 1)
        first = self.spread.rank * here if self.spread else 0
        # those without one are expert `here`, behind all others
        stand_in = routes.stand_in.flatten()
        own = (stand_in - first).masked_fill(stand_in < 0, here)
        counts = torch.bincount(own, minlength=here + 1)[:here].tolist()
        chosen = own.argsort(stable=True)[: sum(counts)]
        computed = self.experts.ragged(rows[chosen], counts)
        return out.index_add(0, chosen, (computed * routes.stand_in_gate.flatten()[chosen, None]).to(out.dtype))


@torch.no_grad()
def _tally(routes: Routes, mixture: Mixture, first_rank: int) -> Tally:
    ranks, tokens, _ = routes.experts.shape
    kept = routes.places >= 0
    own = torch.arange(first_rank, first_rank + ranks, device=kept.device)[:, None, None]
    away = routes.experts.div(mixture.local, rounding_mode="floor") != own
    choices = routes.experts[..., : mixture.top_k]
    used = kept.sum()
    slots = used if routes.capacity is None else torch.tensor(ranks * mixture.experts * routes.capacity).to(used)
    none = torch.zeros_like(used)
    return Tally(
        tokens=none + ranks * tokens,
        dropped=(~kept.any(dim=-1)).sum(),
        choices_dropped=(~kept[..., : mixture.top_k]).sum(),
        slots=slots,
        padded=slots - used,
        filled=kept[..., mixture.top_k :].sum(),
        rerouted=none if routes.stand_in is None else (routes.stand_in >= 0).sum(),
        crossed=(kept & away).sum(),
        load=torch.bincount(choices.flatten(), minlength=mixture.experts),
    )
