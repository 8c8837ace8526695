"""Who computes: this process among the others of a training run, and on which device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Ranks:
    """One process of a group. Alone without ``torch.distributed``."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def current(cls) -> Ranks:
        """The group that ``torch.distributed`` knows, or this process alone."""
        joined = dist.is_available() and dist.is_initialized()
        rank, world = (dist.get_rank(), dist.get_world_size()) if joined else (0, 1)
        if torch.cuda.is_available():
            return cls(rank, world, torch.device("cuda", torch.cuda.current_device()))
        return cls(rank, world, torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """``values`` summed over all ranks."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    @staticmethod
    def agreed(value: torch.Tensor) -> torch.Tensor:
        """``value`` as the leading rank has it: for decisions that rest on rounding."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            dist.broadcast(value, src=0)
        return value

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world > 1:
            dist.barrier()
