"""A sample crawl of our own making: a few thousand varied web pages in WARC files, with the truth about each.

``generate`` writes it; ``python -m pipeline.sample OUT`` does so from the command line. Everything is self-written and
follows from a seed, so that a fresh checkout has something real to run on and tests know what must come out. It shows
what a crawl is made of; it says nothing about how common things are on the web.
"""

from .crawl import CRAWLS, generate
from .truth import SampleTruth

__all__ = ["CRAWLS", "SampleTruth", "generate"]
