"""Signals: numbers about a text, all measured in one go. See ``definitions`` for what each one means."""

from stages.signals.definitions import FIELDS, SIGNALS, Signal
from stages.signals.stage import Signals, count_fields, measure

__all__ = ["FIELDS", "SIGNALS", "Signal", "Signals", "count_fields", "measure"]
