"""Which lines of an extracted page are its text, and how sure that is.

resiliparse finds the main part of a page with nearly full recall but keeps boilerplate inside it (precision .84-.89 on
news pages). The judge reads its lines with a small network (140 inputs, 32 units, and a weight for each of 16,384
word buckets; ``line_judge.json``) and keeps those that are more likely text than not.

The weights were fitted by ``benchmarks/extraction_fit.py``: lines of freely collected pages, labelled by whether
trafilatura (favor_precision) keeps them. ``benchmarks/extraction_quality.py --held-out`` measures their quality.
The confidence of a page is the expected word F1 of the kept lines, if the probabilities are taken at their word:
2 * sum(p * words, kept) / (sum(words, kept) + sum(p * words, all)).
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.errors import ModelError

KEEP_FROM = 0.5
SHORT_PAGE = 120  # words: on a page this short nearly everything that the fast engine kept is the text
KEEP_FROM_SHORT = 0.1
LONG_LINE = 8  # words from which the same line twice is no refrain any more
COPIED_LINES = 3  # such lines that make a second copy of the text, and no accident


@dataclass(frozen=True, slots=True)
class Weights:
    """The fitted network and the weights of word buckets."""

    words: NDArray[np.float32]
    inner: NDArray[np.float32]
    inner_bias: NDArray[np.float32]
    outer: NDArray[np.float32]
    outer_bias: float


@dataclass(frozen=True, slots=True)
class Judged:
    """Text of the kept lines, how many words they hold, and the expected word F1 (0..1)."""

    text: str
    words: int
    confidence: float


@functools.cache
def shipped_weights() -> Weights:
    """The weights that come with the package."""
    return read_weights(resources.files(__package__).joinpath("line_judge.json").read_text())


def read_weights(text: str) -> Weights:
    """Weights from the JSON that ``benchmarks/extraction_fit.py`` writes."""
    document = json.loads(text)
    arrays = {name: np.array(document[name], dtype=np.float32) for name in ("words", "inner", "inner_bias", "outer")}
    weights = Weights(**arrays, outer_bias=float(document["outer_bias"]))
    _check_shapes(weights)
    return weights


def _check_shapes(weights: Weights) -> None:
    """The compiled loops check no bounds: weights of another layout must not reach them."""
    from stages.extract.line_features import FEATURES

    units, buckets = len(weights.outer), len(weights.words)
    if weights.inner.shape != (FEATURES, units) or weights.inner_bias.shape != (units,) or buckets & (buckets - 1):
        raise ModelError(
            "the weights of the line judge do not fit the features of this version",
            where="stages/extract/line_judge.json",
            fix="reinstall the package, or fit them anew with benchmarks/extraction_fit.py",
        )


def judge(markup: str, weights: Weights | None = None) -> Judged:
    """Judge the lines of resiliparse's minimal HTML. 0.1-0.2 ms for an average page."""
    from stages.extract.line_kernel import WORDS, read_lines

    chosen = weights or shipped_weights()
    text, spans, counts = read_lines(markup, chosen.words)
    if not len(spans):
        return Judged("", 0, 0.0)
    likely = probabilities(counts, chosen)
    words = counts[:, WORDS]
    kept = likely >= (KEEP_FROM_SHORT if words.sum() < SHORT_PAGE else KEEP_FROM)
    kept &= ~repeated_lines(text, spans.tolist(), words)
    lines = [text[start:end].decode("utf-8", "replace") for start, end in spans[kept].tolist()]
    return Judged("\n".join(lines), round(float(words[kept].sum())), _expected_f1(likely, words, kept))


def repeated_lines(text: bytes, spans: list[list[int]], words: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Second copies of long lines that stand on the page exactly twice: once for telephones, once for desks."""
    places: dict[bytes, list[int]] = {}
    for at in np.flatnonzero(words >= LONG_LINE).tolist():
        places.setdefault(text[spans[at][0] : spans[at][1]], []).append(at)
    second = [found[1] for found in places.values() if len(found) == 2]
    repeated = np.zeros(len(spans), dtype=np.bool_)
    if len(second) >= COPIED_LINES:
        repeated[second] = True
    return repeated


def probabilities(counts: Any, weights: Weights) -> NDArray[np.float32]:
    """How likely each line is text, for counts as ``read_lines`` gives them."""
    from stages.extract.line_features import features, forward

    scores = forward(features(counts), weights.inner, weights.inner_bias, weights.outer, weights.outer_bias)
    return np.asarray(scores, dtype=np.float32)


def _expected_f1(likely: NDArray[np.float32], words: NDArray[np.float32], kept: NDArray[np.bool_]) -> float:
    right = float((likely * words)[kept].sum())
    total = float(words[kept].sum() + (likely * words).sum())
    return 2 * right / total if total else 0.0
