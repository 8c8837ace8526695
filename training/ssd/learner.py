"""SSD as something the trainer trains: the model, the monitor of its neurons, and the rule that switches."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from training.config import Phase
from training.learner import Learner, token_loss, weight_groups
from training.llama import Llama
from training.moefication.convert import Conversion, divide
from training.moefication.layer import Experts, flops_per_token, switchable
from training.moefication.saved import save_switchable
from training.ssd.monitor import Measured, Monitor
from training.ssd.settings import Plan, Switching

DENSE, SPARSE = "dense", "sparse"


class _Switchable(nn.Module):
    """The model in one of two modes; evaluation is dense unless ``evaluate_sparse``."""

    def __init__(self, model: Llama, experts: Experts, probe: Tensor) -> None:
        super().__init__()
        self.layers = switchable(model, experts)
        self.model = model
        self.monitor = Monitor(probe, model.shape.layers, model.shape.intermediate)
        self.train_sparse = self.evaluate_sparse = False

    def forward(self, inputs: Tensor, labels: Tensor, documents: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            layer.sparse = self.train_sparse if self.training else self.evaluate_sparse
        summed = token_loss(self.model(inputs, document_ids=documents), labels)
        return summed, torch.zeros_like(summed)


class SwitchableTraining(Learner):
    """Pre-training that switches between dense and sparse by ``plan``."""

    def __init__(
        self, model: Llama, experts: Experts, plan: Plan, rule: Switching, *, steps: int, probe: Tensor, seed: int
    ) -> None:
        """``probe`` [rows, L]: token ids on which activations are watched. ``seed``: of the first centroids."""
        self.model, self.experts, self.plan, self.rule = model, experts, plan, rule
        self._steps, self._seed = steps, seed
        self.module: _Switchable = _Switchable(model, experts, probe)
        self._since, self._conversions, self._done = 0, 0, 0
        """Step of the last switch, how often neurons were divided, updates done."""
        if plan == "smoe":
            self.module.monitor.check_up(self.module)
            self._divide(None)
            self.module.train_sparse = True

    @property
    def mode(self) -> str:
        """How the next step is trained."""
        return SPARSE if self.module.train_sparse else DENSE

    @property
    def flops_per_token(self) -> int:
        return flops_per_token(self.model.shape, self.experts, sparse=self.module.train_sparse)

    def groups(self, phase: Phase) -> list[dict[str, Any]]:
        """The model's own groups; routers get the same learning rate and no decay."""
        named = dict(self.model.named_parameters())
        own = ((name, weight) for name, weight in named.items() if not name.endswith(".router"))
        routers = [layer.router for layer in self.module.layers]
        return [
            *weight_groups(own, phase),
            {"params": routers, "peak": phase.schedule.peak, "weight_decay": 0.0},
        ]

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.model.model.layers)

    def after_update(self, step: int, optimiser: Optimizer) -> Mapping[str, Any]:
        """Check the activations, and switch where the rule says so."""
        done = self._done = step + 1
        events: dict[str, Any] = {}
        measured = None
        if done % self.rule.check_every == 0 or done == self._steps:
            measured = self.module.monitor.check_up(self.module)
            events |= measured.facts()
        if done == self._steps:
            if self.plan in ("dense", "ssd"):
                # so that the model runs sparse, too: for a dense one this is MoEfication after training
                events |= self._divide(optimiser)
            return events
        if self._becomes_sparse(done, measured):
            events |= self._divide(optimiser) | self._switch(done, sparse=True)
        elif self._becomes_dense(done):
            events |= self._switch(done, sparse=False)
        return events

    def _becomes_sparse(self, done: int, measured: Measured | None) -> bool:
        if self.mode == SPARSE or self.plan not in ("ssd", "once") or measured is None or measured.similarity is None:
            return False
        # neurons are not divided for less than half a sparse phase
        left = self._steps - self.rule.final_steps(self._steps) - done
        room = self.plan == "once" or 2 * left >= self.rule.sparse_steps
        return room and done - self._since >= self.rule.dense_steps and measured.similarity >= self.rule.stable

    def _becomes_dense(self, done: int) -> bool:
        if self.mode == DENSE or self.plan != "ssd":
            return False
        return done - self._since >= self.rule.sparse_steps or done >= self._steps - self.rule.final_steps(self._steps)

    def _switch(self, done: int, *, sparse: bool) -> dict[str, Any]:
        self.module.train_sparse, self._since = sparse, done
        return {"mode": self.mode}

    def _divide(self, optimiser: Optimizer | None) -> dict[str, Any]:
        """Divide all layers into experts; says how far these are from the ones before, and how long it took."""
        began, found = time.perf_counter(), list[Conversion]()
        monitor = self.module.monitor
        for number, layer in enumerate(self.module.layers):
            conversion = divide(
                layer,
                optimiser,
                seed=self._seed,
                divided=self._conversions > 0,
                pattern=monitor.patterns[number],
            )
            monitor.permute(number, conversion.order)
            found.append(conversion)
        self._conversions += 1
        agreements = [conversion.agreement for conversion in found if conversion.agreement is not None]
        agreed = {"agreement": sum(agreements) / len(agreements)} if agreements else {}
        return {"divided": self._conversions, **agreed, "dividing_seconds": round(time.perf_counter() - began, 3)}

    def facts(self) -> Mapping[str, float]:
        """The busiest expert's load over the mean, the worst of all layers, since the last line."""
        loads = [layer.take_load().float() for layer in self.module.layers]
        if self.mode == DENSE or not float(sum(load.sum() for load in loads)):
            return {}
        return {"load": max(float(load.max() / load.mean()) for load in loads)}

    def other_modes(self) -> Mapping[str, AbstractContextManager[None]]:
        """Held-out losses of the sparse model, too, once there are experts that belong to its neurons as they are."""
        return {SPARSE: self._evaluating_sparse()} if self._has_experts else {}

    @property
    def _has_experts(self) -> bool:
        """Whether experts and routers belong to the neurons as they are now."""
        return self.module.train_sparse or self._done == self._steps

    @contextmanager
    def _evaluating_sparse(self) -> Any:
        self.module.evaluate_sparse = True
        try:
            yield
        finally:
            self.module.evaluate_sparse = False

    def state_dict(self) -> dict[str, Any]:
        """Mode, step of the last switch, number of conversions."""
        return {"sparse": self.module.train_sparse, "since": self._since, "conversions": self._conversions}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.module.train_sparse = bool(state["sparse"])
        self._since, self._conversions = int(state["since"]), int(state["conversions"])

    def save(self, folder: Path, weights: Mapping[str, Tensor], tokenizer: bytes) -> None:
        """Write a plain Hugging Face folder, dense to all others; with the routers beside it where there are some."""
        experts = self.experts if self._has_experts else None
        save_switchable(self.model.shape, experts, weights, folder, tokenizer=tokenizer)
