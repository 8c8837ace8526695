"""Compiled end of a lexical search: from the best passages of many queries to their best documents."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def best_documents(
    passages: NDArray[np.int32],
    scores: NDArray[np.float32],
    document: NDArray[np.int64],
    found: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """For each query the places, in its row of ``passages``, of the best passage of its best documents.

    Rows are sorted by falling score; equal scores are put in order of passage (in place). ``document`` gives the
    document of a passage, ``found`` gets at most as many places as it has columns, ``counts`` how many there are.
    Scores of 0 do not count.
    """
    seen = np.full(document[-1] + 1 if document.size else 0, -1, np.int64)
    for query in range(passages.shape[0]):
        row, values = passages[query], scores[query]
        for at in range(1, row.size):  # runs of equal scores are short
            here = at
            while here > 0 and values[here] == values[here - 1] and row[here] < row[here - 1]:
                row[here], row[here - 1] = row[here - 1], row[here]
                here -= 1
        count = 0
        for at in range(row.size):
            if values[at] <= 0 or count == found.shape[1]:
                break
            if seen[document[row[at]]] != query:
                seen[document[row[at]]] = query
                found[query, count] = at
                count += 1
        counts[query] = count
