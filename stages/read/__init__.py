"""Sources: crawl files and text files become batches of rows, one per record, and nothing is lost on the way.

    units     SourceConfig, Unit, plan_units: list the files and cut them into units of work
    reader    read_unit, fetch_record: a unit becomes tables of schema corpus.schema.TRAVEL
    text      sanitise_text: any string made safe for Arrow

Below them: listing (globs, listings), storage (bytes by range), sniff (formats), walk, members and framing (where
records begin and end), grammar (WARC and ARC headers), http_payload (bodies), interpret (verdicts), rows, text_rows
(JSON lines, Parquet).
"""

from __future__ import annotations

from .reader import fetch_record, read_unit
from .text import sanitise_text
from .units import SourceConfig, Unit, plan_units

__all__ = ["SourceConfig", "Unit", "fetch_record", "plan_units", "read_unit", "sanitise_text"]
