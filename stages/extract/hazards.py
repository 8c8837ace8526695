"""What makes a page dangerous to parse, seen from its bytes in one linear pass, before any parser touches it.

Measured with resiliparse 2.0.1: 100,000 nested ``div`` hang the main-content heuristics (quadratic), 100,000 attributes
in one tag take 23 s; libxml2 silently drops what lies below about 256 levels; trafilatura dies of ``colspan=9e15``.
The scan is a suspicion, cheap (1 GB/s) and generous: a suspected page is parsed in the killable child instead of the
worker, a deep one is kept from libxml2, and nothing is lost by a false alarm but time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LIBXML2_DEPTH = 240  # libxml2 gives up at 256 levels; head, body and implied elements need some of them
WORKER_DEPTH = 1000  # nested elements that the fast parser takes in the worker itself (under 20 ms)
WORKER_ATTRIBUTES = 2000  # in one tag
WORKER_BYTES = 4 << 20
MAX_SPAN = 1000  # HTML itself clamps colspan at 1000 and rowspan at 65534

_SPAN = re.compile(r"((?:col|row)span\s*=\s*[\"']?\s*)(\d{4,})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Hazards:
    """``depth``: upper bound of the nesting; ``attributes``: the most blanks inside one tag; ``size`` in bytes."""

    depth: int
    attributes: int
    size: int

    @property
    def safe_in_worker(self) -> bool:
        """Whether the fast parser may run in the worker's own process."""
        return self.depth <= WORKER_DEPTH and self.attributes <= WORKER_ATTRIBUTES and self.size <= WORKER_BYTES

    @property
    def too_deep_for_libxml2(self) -> bool:
        """Whether trafilatura would silently lose what lies below 256 levels."""
        return self.depth > LIBXML2_DEPTH


def look_for_hazards(page: bytes) -> Hazards:
    """Scan the UTF-8 (or any ASCII-compatible) bytes of a page."""
    from stages.extract.hazard_kernel import scan_markup

    depth, attributes = scan_markup(page)
    return Hazards(depth, attributes, len(page))


def clamp_spans(text: str) -> str:
    """``colspan`` and ``rowspan`` values above ``MAX_SPAN`` set to it."""
    return _SPAN.sub(lambda match: match.group(1) + str(min(int(match.group(2)[:18]), MAX_SPAN)), text)
