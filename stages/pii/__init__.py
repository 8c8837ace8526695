"""Personal data: found by form and check digit, masked with typed placeholders, counted per kind."""

from stages.pii.find import Finder, Span, find_pii, mask
from stages.pii.kinds import KINDS, Kind
from stages.pii.stage import MaskPii

__all__ = ["KINDS", "Finder", "Kind", "MaskPii", "Span", "find_pii", "mask"]
