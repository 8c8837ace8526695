"""Exact and near-duplicate removal over a whole corpus. See ``config`` for what is compared, ``steps`` for how."""

from stages.dedup.config import Dedup

__all__ = ["Dedup"]
