"""The loader: batches of a corpus in an order that nothing but its configuration decides.

    corpus = open_tokens("runs/tokens")
    loader = Loader(corpus, LoaderConfig(global_batch=256, seed=1))
    for batch in loader:                      # endless, unless ``exhausted`` says otherwise
        ...                                   # input_ids, labels, document_ids [rows, L]; domain [rows]; step
        state = loader.state_dict()           # belongs to this batch: small JSON

It is a ``torch.utils.data.IterableDataset`` with ``state_dict`` and ``load_state_dict``, so that it serves as it is, in
``DataLoader(loader, batch_size=None)`` with any number of workers, and in torchdata's ``StatefulDataLoader``. Every
rank builds the same loader with its own ``rank`` and gets its slice of each global batch; all ranks see the same number
of steps. Its own threads read ahead, so worker processes are rarely worth their memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from pydantic import Field, ValidationError
from torch.utils.data import IterableDataset, get_worker_info

from corpus.errors import TrainingError
from corpus.settings import Settings
from training.data.batches import Batch, BlockCache, Slice, assemble, take_slice
from training.data.mixture import Change
from training.data.order import DomainOrder
from training.data.planner import Exhausted, Planner, PlannerState
from training.data.source import Corpus, block_rows

STATE_FORMAT = 1


class LoaderConfig(Settings):
    """How batches are drawn from a corpus. All ranks use the same."""

    global_batch: int = Field(ge=1)
    """Rows of a batch over all ranks and micro-batches: what one step of the optimiser sees."""
    seed: int = Field(default=0, ge=0)
    """Of the order of rows. Another seed is another order of the same rows."""
    weights: dict[str, float] | None = None
    """Share of each domain in a batch; they sum to one. Default: the domains' shares of the corpus by tokens."""
    window: int = Field(default=16, ge=1)
    """Blocks per domain among which rows are shuffled. Wider windows shuffle better and take more memory."""
    exhausted: Exhausted = "repeat"
    """When a domain has given all its rows: start its next epoch in another order, let the others share its weight
    (renormalise), end the stream before the step that lacks rows (stop), or fail (error)."""
    prefetch: int = Field(default=4, ge=1)
    """Steps that are planned and read ahead. A change of weights can take effect after these at the earliest."""
    threads: int = Field(default=2, ge=0)
    """Threads that read blocks ahead; 0 reads when a batch is asked for."""


class Loader(IterableDataset[Batch]):
    """Batches of ``corpus``; see the head of this module. Raises ``TrainingError`` where the settings cannot work."""

    def __init__(self, corpus: Corpus, config: LoaderConfig, *, rank: int = 0, world: int = 1) -> None:
        super().__init__()
        if config.global_batch % world or not 0 <= rank < world:
            raise TrainingError(
                f"a global batch of {config.global_batch} rows cannot be shared by {world} ranks (this is {rank})",
                fix="make global_batch a multiple of the world size",
            )
        self.corpus, self.config, self.rank, self.world = corpus, config, rank, world
        self.domains = tuple(corpus.domains)
        self._orders = [_order(corpus, name, config) for name in self.domains]
        rows = {name: order.total for name, order in zip(self.domains, self._orders, strict=True)}
        weights = config.weights if config.weights is not None else corpus.proportions()
        self._planner = Planner.start(rows, weights, batch=config.global_batch, exhausted=config.exhausted)
        self._state = self._planner.state
        self._stride: tuple[int, int] | None = None  # steps of a worker process: (how many workers, which remainder)
        self._running: _Batches | None = None
        # set by copies in worker processes, which a change of weights made here could not reach
        self._in_workers = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __iter__(self) -> Iterator[Batch]:
        self.close()
        worker = get_worker_info()
        self._in_workers.fill_(int(worker is not None))
        if worker is not None and (self._stride is None or self._stride[0] != worker.num_workers):
            self._stride = (worker.num_workers, (self._state.step + worker.id) % worker.num_workers)
        self._planner.restore(self._state.model_copy(update={"journal": self.journal}))
        self._running = _Batches(self, self._planner)
        return self._running

    @property
    def step(self) -> int:
        """The step that the next batch belongs to."""
        return self._state.step

    @property
    def weights(self) -> dict[str, float]:
        """The weights in force for the steps that are planned next."""
        return self._planner.weights()

    @property
    def drawn(self) -> dict[str, int]:
        """Rows that each domain has given, over all ranks, up to the batch yielded last."""
        return dict(zip(self.domains, self._state.taken, strict=True))

    @property
    def journal(self) -> tuple[Change, ...]:
        """Every change of weights so far, those declared for later steps included."""
        return self._planner.journal()

    def set_weights(
        self, weights: Mapping[str, float], *, step: int | None = None, reason: str = "", facts: Mapping[str, Any] = {}
    ) -> Change:
        """Change the mixture from ``step`` on (default: as soon as possible); returns the entry of the journal.

        With ``torch.distributed`` every rank calls this; rank 0's weights count, and all ranks take them at the same
        step. Raises ``TrainingError`` where that step is planned already, and where copies of this loader run in worker
        processes of a ``DataLoader``.
        """
        if int(self._in_workers[0]):
            raise TrainingError(
                "weights cannot be changed while worker processes of a DataLoader read ahead with the old ones",
                fix="iterate the loader itself (it reads ahead with threads of its own), or use num_workers=0",
            )
        earliest = self._planner.step
        told: list[Any] = [dict(weights), step, reason, dict(facts)]
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            planned: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(planned, earliest)  # unlike a tensor, it goes over any backend
            dist.broadcast_object_list(told, src=0)
            earliest = max(planned)
        new, wanted, why, found = told
        return self._planner.change(earliest if wanted is None else wanted, new, why, found, earliest=earliest)

    def state_dict(self, batch: Batch | None = None) -> dict[str, Any]:
        """The state after the batch yielded last, or after ``batch``: JSON of a few hundred bytes plus the journal.

        With worker processes, batches arrive later than they are made: pass the batch that was trained on.
        """
        state = self._state
        if batch is not None:
            taken, carry = batch["cursor"].tolist()
            state = PlannerState(step=int(batch["step"]) + 1, taken=tuple(taken), carry=tuple(carry), journal=())
        state = state.model_copy(update={"journal": self.journal})
        return {
            "format": STATE_FORMAT,
            **self.corpus.identity(),
            "loader": self.config.model_dump(mode="json", include={"global_batch", "seed", "window", "exhausted"}),
            "domains": list(self.domains),
            "planner": state.model_dump(mode="json"),
            "stride": self._stride,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the batch that ``state`` belongs to, on any number of ranks, threads and workers.

        Raises ``TrainingError`` with all differences where the state belongs to another corpus, tokenizer or order.
        """
        mine = self.state_dict()
        theirs = {**mine, **state}
        bound = ("format", *self.corpus.identity(), "loader", "domains")
        faults = [f"{key}: state has {theirs[key]}, here {mine[key]}" for key in bound if theirs[key] != mine[key]]
        faults += [f"the state lacks {key!r}" for key in mine if key not in state]
        if faults:
            raise TrainingError(
                "the saved state does not belong to this loader\n  " + "\n  ".join(faults),
                fix="open the corpus that the state was saved with and the same loader settings, or start anew",
            )
        try:
            loaded = PlannerState.model_validate(theirs["planner"])
        except ValidationError as error:
            raise TrainingError(f"the saved state is damaged: {error}") from None
        self.close()
        self._stride = tuple(theirs["stride"]) if theirs["stride"] else None
        self._planner.restore(loaded)
        self._state = loaded

    def close(self) -> None:
        """Stop reading ahead. A loader can be iterated again."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": None}  # threads stay behind


def _order(corpus: Corpus, name: str, config: LoaderConfig) -> DomainOrder:
    rows = block_rows(corpus.domains[name].blocks)
    return DomainOrder(name, rows, seed=config.seed, window=config.window)


class _Batches(Iterator[Batch]):
    """One pass over the loader: plans ahead, has blocks read, hands out batches."""

    def __init__(self, loader: Loader, planner: Planner) -> None:
        self._loader, self._planner = loader, planner
        config, domains = loader.config, list(loader.corpus.domains.values())
        # two windows per domain: the one in use and the one that is read ahead
        capacity = 2 * config.window * len(domains) + config.global_batch // loader.world
        self._cache = BlockCache(domains, threads=config.threads, capacity=capacity)
        self._ahead: deque[Slice] = deque()
        self._ended = False
        self._failure: TrainingError | None = None
        self._stride = (loader._stride if get_worker_info() is not None else None) or (1, 0)

    def __next__(self) -> Batch:
        loader = self._loader
        while not self._ended and not self._ahead:
            self._plan_one()
        if not self._ahead:
            raise self._failure or StopIteration
        part = self._ahead[0]  # it stays where it cannot be read, so that asking again skips nothing
        batch = assemble(part, self._cache, loader.corpus.sequence_length)
        self._ahead.popleft()
        # only now, so that the first batch does not wait behind those to come
        while not self._ended and len(self._ahead) < loader.config.prefetch:
            self._plan_one()
        loader._state = part.plan.after
        return batch

    def _plan_one(self) -> None:
        loader = self._loader
        try:
            plan = self._planner.plan()
        except TrainingError as error:
            plan, self._failure = None, error  # of a step to come: the batches before it are whole
        if plan is None:
            self._ended = True
            return
        workers, mine = self._stride
        if plan.step % workers != mine:
            return
        part = take_slice(plan, loader._orders, loader.rank, loader.world)
        self._ahead.append(part)
        self._cache.ahead(part)

    def close(self) -> None:
        self._cache.close()
