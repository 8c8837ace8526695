"""A labelled page, ready to be learned from: its blocks, which of them are main text, how much each counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quality_models.extractor.align import matched_by_block, matched_words, words_of
from quality_models.extractor.groups import find_groups, fold_of, host_of, sketch
from quality_models.extractor.recipe import ExtractorRecipe
from quality_models.extractor.sources import Labelled
from stages.extract.blocks.columns import Block
from stages.extract.blocks.tokenizer import Page, Tokenizer
from stages.language import identify

PER_PAGE = 100.0  # weight of a page, shared out among its blocks
GROWTH = 0.7  # a block of n words weighs n ** GROWTH
PARTIAL = (0.2, 0.8), 0.3  # blocks matched to such a share are doubtful
HEADLINE = 0.1  # reference texts disagree on whether the title belongs to the main text
HEADLINE_WORDS = 3, 30


@dataclass(frozen=True, slots=True)
class Example:
    """``labels``, ``weights``: float32 by block. ``page``: without its source. ``fold``: where its group belongs."""

    id: str
    sha1: str
    page: Page
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    reference: str
    source: str
    kind: str
    type: str
    language: str
    host: str | None
    fold: int


def build_examples(pages: Iterable[Labelled], recipe: ExtractorRecipe, dropped: Counter[str]) -> list[Example]:
    """Read, align, group and weigh. ``dropped`` counts what was left out, by reason."""
    tokenizer, found, sketches = Tokenizer(), [], []
    for labelled in pages:
        example = _example(labelled, recipe, tokenizer, dropped)
        if example is not None:
            found.append(example)
            sketches.append(sketch(example.page.words))
    return _grouped(found, find_groups([example.host for example in found], sketches), recipe, dropped)


def _example(
    labelled: Labelled, recipe: ExtractorRecipe, tokenizer: Tokenizer, dropped: Counter[str]
) -> Example | None:
    reference = words_of(labelled.reference, tokenizer)
    page = tokenizer.read(labelled.html)
    matched = matched_words(page.words, reference)
    if matched is None or not len(page.blocks):
        dropped["too long to align" if matched is None else "no text"] += 1
        return None
    if len(reference) and matched.sum() < recipe.least_cover * len(reference):
        dropped[f"reference text not on the page ({labelled.kind})"] += 1
        return None
    page = replace(page, source=page.source[:0]).copy()
    share = matched_by_block(page, matched) / np.maximum(page.blocks[:, Block.WORDS], 1)
    language = identify(labelled.reference or page.text.tobytes().decode()[:20_000]).language
    return Example(
        id=labelled.id,
        sha1=labelled.sha1,
        page=page,
        labels=(share > 0.5).astype(np.float32),
        weights=block_weights(page, share) * np.float32(labelled.weight),
        reference=labelled.reference,
        source=labelled.source,
        kind=labelled.kind,
        type=labelled.type,
        language=language or "unknown",
        host=host_of(labelled.url),
        fold=0,
    )


def block_weights(page: Page, share: NDArray[np.float64]) -> NDArray[np.float32]:
    """How much each block counts; ``share`` of its words are in the reference text. Sums to PER_PAGE or less."""
    words = np.maximum(page.blocks[:, Block.WORDS], 1).astype(np.float64)
    weights = words**GROWTH
    weights *= PER_PAGE / weights.sum()
    (low, high), partial = PARTIAL
    weights[(share > low) & (share < high)] *= partial
    weights[headlines(page)] *= HEADLINE
    return weights.astype(np.float32)


def headlines(page: Page) -> NDArray[np.bool_]:
    """Blocks that repeat the page's title."""
    words, stop = page.blocks[:, Block.WORDS], page.blocks[:, Block.STOP_WORDS]
    least, most = HEADLINE_WORDS
    found: NDArray[np.bool_] = page.blocks[:, Block.TITLE_WORDS] >= 0.75 * np.maximum(words - stop, 1)
    return found & (words >= least) & (words < most)


def _grouped(
    examples: list[Example], groups: list[int], recipe: ExtractorRecipe, dropped: Counter[str]
) -> list[Example]:
    """The examples with their folds, at most ``per_host`` of one group: gold first, then in order."""
    taken: Counter[int] = Counter()
    kept = []
    for example, group in zip(examples, groups, strict=True):
        taken[group] += 1
        if taken[group] > recipe.per_host:
            dropped["more of one host than the recipe takes"] += 1
        else:
            key = examples[group].host or examples[group].id  # the first page of the group gives it its name
            kept.append(replace(example, fold=fold_of(key, recipe.folds)))
    return kept
