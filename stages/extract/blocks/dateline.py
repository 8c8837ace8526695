"""Short texts with numbers around the beginning of the main text: where an article's date stands, if anywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.columns import Block
from stages.extract.blocks.tokenizer import Page

BEFORE, BEHIND = 6000, 3000  # bytes of the page around the first kept block
MOST_CHARACTERS = 70  # a longer block is prose, and its dates are those of events
LEAST_NUMBERS = 2  # a day and a year
MOST_TEXTS = 12


def datelines(page: Page, kept: NDArray[np.bool_]) -> tuple[str, ...]:
    """Texts of blocks that may hold the date of the kept ones, the nearest to the first of them first."""
    if not kept.any():
        return ()
    place = page.blocks[int(kept.argmax())]
    middle = int(place[Block.SOURCE_START])
    low, high = np.searchsorted(page.blocks[:, Block.SOURCE_START], (middle - BEFORE, middle + BEHIND))
    near = page.blocks[low:high]
    short = (near[:, Block.DIGITS] >= LEAST_NUMBERS) & (near[:, Block.CHARACTERS] <= MOST_CHARACTERS)
    rows = np.flatnonzero(short)
    away = np.abs(near[rows, Block.START] - place[Block.START])
    nearest = rows[np.argsort(away, kind="stable")][:MOST_TEXTS]
    return tuple(page.block_text(int(low + row)) for row in nearest)
