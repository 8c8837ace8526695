"""The trainer: one phase from its first step, or from its last checkpoint, to a saved model.

The gradient of a step is that of the mean over all labelled tokens of the global batch, however it is cut into ranks
and micro-batches. A resumed phase goes on bit by bit on the same number of ranks (on a CPU; some GPU kernels add in an
order of their own). What is learnt, and how its loss comes about, is the learner's business.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.optim import AdamW

from corpus.errors import TrainingError
from corpus.failpoints import failpoint
from training.data.batches import IGNORE, Batch
from training.data.loader import Loader, LoaderConfig
from training.dynamic import Mixer
from training.evaluate import Evaluation
from training.folder import CHECKPOINTS, DONE, LOG, MODEL, SNAPSHOTS, checkpoints, cut_log, publish
from training.job import Job, Observe, batch_tokens, finished, precision_of, same_job
from training.parallel import accumulating, clip_norm, wrap
from training.ranks import Ranks
from training.saved import (
    TrainerState,
    load_tensors,
    read_state,
    save_checkpoint,
    whole_weights,
)

Losses = dict[str, float]
"""Held-out loss by domain."""


class Trainer:
    """Runs one job on this rank."""

    def __init__(self, job: Job, ranks: Ranks, observe: Observe) -> None:
        self.job, self.ranks, self._observe = job, ranks, observe
        phase = job.phase
        config = LoaderConfig(
            global_batch=phase.global_batch, seed=phase.seed, weights=phase.weights, window=phase.window
        )
        self.loader = Loader(job.train, config, rank=ranks.rank, world=ranks.world)
        self.evaluation = Evaluation(
            job.held_out,
            phase.evaluate_rows,
            ranks,
            micro_batch=phase.micro_batch,
            document_attention=phase.document_attention,
        )
        self.mixer = Mixer(phase.dynamic, job.reference) if phase.dynamic else None
        self.precision = precision_of(phase, ranks)
        job.learner.module.to(ranks.device)
        self.wrapped = wrap(job.learner, phase, ranks)
        self.optimiser = AdamW(
            job.learner.groups(phase),
            lr=phase.schedule.peak,
            betas=phase.optimiser.betas,
            eps=phase.optimiser.eps,
            fused=ranks.device.type == "cuda",
        )
        self.state = TrainerState(identity=job.identity())

    def run(self) -> dict[str, Any]:
        """Train to the end; returns the summary, also of a phase that was finished before."""
        done = finished(self.job.folder, self.state.identity)
        if done is not None:
            return done
        self.job.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        phase, losses = self.job.phase, dict[str, Losses]()
        self.wrapped.train()
        batches = iter(self.loader)
        if self.state.step == 0:
            self._snapshot()
        for step in range(self.state.step, phase.steps):
            losses = self._step(step, self._next(batches)) or losses
            self._snapshot()
            if (step + 1) % phase.checkpoint_every == 0 and step + 1 < phase.steps:
                self._save()
        self.loader.close()
        return self._finish(losses)

    def _next(self, batches: Iterator[Batch]) -> Batch:
        began = time.perf_counter()
        batch = next(batches)
        waited = self.state.waited + time.perf_counter() - began
        self.state = self.state.model_copy(update={"waited": waited})
        return batch

    def _save(self) -> None:
        mixer = self.mixer.state_dict() if self.mixer else None
        parts = {"loader": self.loader.state_dict(), "mixer": mixer, "learner": self.job.learner.state_dict()}
        state = self.state.model_copy(update=parts)
        save_checkpoint(self.job.folder, self.job.learner.module, self.optimiser, state, self.ranks)

    def _snapshot(self) -> None:
        """Keep the model as it is, where the phase asks for it after this step."""
        every, step = self.job.phase.snapshot_every, self.state.step
        if every is None or step % every:
            return
        weights = whole_weights(self.job.learner.module)
        if self.ranks.leads:
            folder = self.job.folder / SNAPSHOTS / f"step-{step:08d}"
            folder.parent.mkdir(exist_ok=True)
            self.job.learner.save(folder, weights, self.job.train.tokenizer)
        self.ranks.barrier()

    def _resume(self) -> None:
        found = checkpoints(self.job.folder)
        if not found:
            if self.ranks.leads:
                (self.job.folder / LOG).unlink(missing_ok=True)
            return
        state = read_state(found[-1])
        same_job(state.identity, self.state.identity, self.job.folder)
        load_tensors(found[-1], self.job.learner.module, self.optimiser)
        self.loader.load_state_dict(state.loader)
        if self.mixer is not None and state.mixer is not None:
            self.mixer.load_state_dict(state.mixer)
        self.job.learner.load_state_dict(state.learner)
        self.state = state
        if self.ranks.leads:
            cut_log(self.job.folder / LOG, state.step)
        self._log({"resumed": found[-1].name})

    def _step(self, step: int, batch: Batch) -> dict[str, Losses] | None:
        """One update; returns the held-out losses, by mode, where they were measured after it."""
        failpoint("trainer.step")
        phase, began = self.job.phase, time.perf_counter()
        factor = phase.schedule.at(step, phase.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        flops = float(self.job.learner.flops_per_token) * batch_tokens(self.job)
        loss, tokens = self._backward(step, batch)
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = clip_norm(parameters, phase.optimiser.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        events = self.job.learner.after_update(step, self.optimiser)
        logs = (step + 1) % phase.log_every == 0 or step + 1 == phase.steps
        numbers = {"loss": float(loss), "norm": float(norm)} if logs else {}
        if numbers and not math.isfinite(numbers["loss"]):
            raise TrainingError(
                f"the loss of step {step} is {numbers['loss']}",
                where=self.job.name,
                fix="lower schedule.peak or lengthen its warm-up; the last checkpoint is from before",
            )
        self.state = self.state.model_copy(
            update={
                "step": step + 1,
                "tokens": self.state.tokens + tokens,
                "flops": self.state.flops + flops,
                "seconds": self.state.seconds + time.perf_counter() - began,
            }
        )
        if numbers:
            facts = {**numbers, "lr": phase.schedule.peak * factor, **self.job.learner.facts()}
            self._log(facts | {"weights": self.loader.weights})
        if events:
            self._log(events)
        return self._evaluate() if phase.evaluates_after(step) else None

    def _backward(self, step: int, batch: Batch) -> tuple[torch.Tensor, int]:
        """Gradients of the whole batch; returns its mean loss over all ranks (without the penalty) and its tokens."""
        phase, device = self.job.phase, self.ranks.device
        tokens = self._count(batch)
        scale = self.ranks.world / tokens
        parts = range(0, len(batch["labels"]), phase.micro_batch)
        total = torch.zeros((), device=device)
        for start in parts:
            part = {name: batch[name][start : start + phase.micro_batch] for name in ("input_ids", "labels")}
            documents = batch["document_ids"][start : start + phase.micro_batch] if phase.document_attention else None
            inputs, labels = (part[name].to(device, non_blocking=True) for name in ("input_ids", "labels"))
            documents = documents.to(device) if documents is not None else None
            last = start + phase.micro_batch >= len(batch["labels"])
            with accumulating(self.wrapped, finish=last):
                with torch.autocast(device.type, self.precision, enabled=self.precision is not None):
                    summed, penalty = self.wrapped(inputs, labels, documents, step)
                (summed * scale + penalty / len(parts)).backward()
            total += summed.detach()
        return self.ranks.sum(total) / tokens, tokens

    def _count(self, batch: Batch) -> int:
        """Labelled tokens of the global batch. Counted on the CPU: alone, no rank waits for its device."""
        mine = (batch["labels"] != IGNORE).sum()
        return int(mine) if self.ranks.world == 1 else int(self.ranks.sum(mine.to(self.ranks.device)))

    def _evaluate(self) -> dict[str, Losses]:
        losses = self.evaluation.losses(self.wrapped, precision=self.precision)
        found = {"held_out": losses}
        for mode, context in self.job.learner.other_modes().items():
            with context:
                found[f"held_out/{mode}"] = self.evaluation.losses(self.wrapped, precision=self.precision)
        self._log(found)
        done = self.state.step
        if self.mixer is not None and self.job.phase.dynamic and done % self.job.phase.dynamic.every == 0:
            # the first step that is not planned yet, named so that a resumed run takes the same one
            first = done + self.loader.config.prefetch
            weights = self.mixer.update(self.loader.weights, losses)
            self.loader.set_weights(weights, step=first, reason="dynamic", facts={"losses": losses})
        return found

    def _log(self, numbers: Mapping[str, Any]) -> None:
        line = {"phase": self.job.name, "step": self.state.step, "tokens": self.state.tokens, **numbers}
        line |= {"flops": self.state.flops, "seconds": round(self.state.seconds, 3)}
        if self.ranks.leads:
            with (self.job.folder / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self._observe(line)

    def _finish(self, losses: Mapping[str, Losses]) -> dict[str, Any]:
        state = self.state
        summary = {
            "phase": self.job.name,
            "identity": state.identity,
            "steps": state.step,
            "tokens": state.tokens,
            "flops": state.flops,
            "seconds": round(state.seconds, 3),
            "waited": round(state.waited, 3),
            **losses,
            "weights": self.loader.weights,
            "journal": [change.model_dump(mode="json") for change in self.loader.journal],
            "drawn": self.loader.drawn,
        }
        weights = whole_weights(self.job.learner.module)
        if self.ranks.leads:
            self.job.learner.save(self.job.folder / MODEL, weights, self.job.train.tokenizer)
            publish(self.job.folder / DONE, summary)
            shutil.rmtree(self.job.folder / CHECKPOINTS, ignore_errors=True)  # the moments: twice the model's size
        self.ranks.barrier()
        return summary
