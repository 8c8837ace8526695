"""From examples to a model: two tables of hashed words, then two forests, each step out of fold for the next.

What a step says of a page is always said by weights that have not seen the page's group, or the next step would learn
to trust it too much. So every step is fitted once for each fold, without it, and once on everything; the last are the
model that ships, the others measure it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quality_models.extractor.examples import Example
from quality_models.extractor.recipe import ExtractorRecipe, Trees
from stages.extract.blocks.columns import Block, Element
from stages.extract.blocks.context import context_features
from stages.extract.blocks.features import block_features
from stages.extract.blocks.forest import Forest, predict
from stages.extract.blocks.model import Model
from stages.extract.blocks.sums import BODY, CLASS_WEIGHTS, WORD_WEIGHTS, allocate_sums
from stages.extract.blocks.tokenizer import Page

EVERYTHING = -1  # the fold that leaves nothing out
REGULARISATION = {WORD_WEIGHTS: 0.05, CLASS_WEIGHTS: 0.02}  # C of the logistic regressions
ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Fitted:
    """``models`` by fold: what was fitted without it, and on EVERYTHING. ``likely``: out of fold, by example."""

    models: dict[int, Model]
    likely: list[NDArray[np.float32]]


def fit(examples: Sequence[Example], recipe: ExtractorRecipe, tell: Any = lambda text: None) -> Fitted:
    """Fit the model and its folds; ``tell`` is called with a line of text at every step."""
    folds = [*range(recipe.folds), EVERYTHING]
    words = _fit_tables([word_sets(example.page) for example in examples], WORD_WEIGHTS, examples, folds)
    tell("words weighed")
    classes = _fit_tables([class_sets(example.page) for example in examples], CLASS_WEIGHTS, examples, folds)
    tell("class names weighed")
    sums = allocate_sums()
    features = [block_features(e.page, words[e.fold], classes[e.fold], sums) for e in examples]
    first = {fold: _grow(features, examples, fold, recipe.first, recipe.seed) for fold in folds}
    tell("first forest grown")
    matrices = []
    for example, matrix in zip(examples, features, strict=True):
        block_features(example.page, words[example.fold], classes[example.fold], sums)  # fills the sums of this page
        matrices.append(context_features(example.page, matrix, predict(first[example.fold], matrix), sums))
    second = {fold: _grow(matrices, examples, fold, recipe.second, recipe.seed + 1) for fold in folds}
    tell("second forest grown")
    likely = [predict(second[e.fold], matrix) for e, matrix in zip(examples, matrices, strict=True)]
    return Fitted({fold: Model(words[fold], classes[fold], first[fold], second[fold]) for fold in folds}, likely)


def word_sets(page: Page) -> list[NDArray[np.int64]]:
    """By block: the places of its words in the table of weights, each once."""
    places = (page.words & np.uint32(WORD_WEIGHTS - 1)).astype(np.int64)
    first = page.blocks[:, Block.FIRST_WORD].tolist()
    return [
        np.unique(places[start : start + count])
        for start, count in zip(first, page.blocks[:, Block.WORDS].tolist(), strict=True)
    ]


def class_sets(page: Page) -> list[NDArray[np.int64]]:
    """By block: the places of the class names of all elements around it, each once; those of the body left out."""
    places = (page.classes & np.uint32(CLASS_WEIGHTS - 1)).astype(np.int64)
    around: list[frozenset[int]] = []
    for row in page.elements.tolist():
        above = around[row[Element.PARENT]] if row[Element.PARENT] >= 0 else frozenset()
        first = row[Element.FIRST_CLASS]
        own = places[first : first + row[Element.CLASS_COUNT]].tolist() if row[Element.TAG] != BODY else []
        around.append(above.union(own) if own else above)
    return [np.array(sorted(around[element]), np.int64) for element in page.blocks[:, Block.ELEMENT].tolist()]


def _fit_tables(
    sets: list[list[NDArray[np.int64]]], size: int, examples: Sequence[Example], folds: Sequence[int]
) -> dict[int, NDArray[np.float32]]:
    """By fold: a weight for every place, by logistic regression of the labels on the sets."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    rows = [row for page in sets for row in page]
    lengths = np.array([len(row) for row in rows])
    places = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    values = np.ones(len(places), np.float32)
    if size == WORD_WEIGHTS:  # a block of many words is one vote all the same
        values = np.repeat(1 / np.sqrt(np.maximum(lengths, 1)), lengths).astype(np.float32)
    matrix = csr_matrix((values, places, np.concatenate([[0], np.cumsum(lengths)])), shape=(len(rows), size))
    labels, weights, fold_of_row = _stacked(examples)
    tables = {}
    for fold in folds:
        use = fold_of_row != fold
        regression = LogisticRegression(C=REGULARISATION[size], max_iter=ROUNDS)
        regression.fit(matrix[use], labels[use], sample_weight=weights[use])
        tables[fold] = regression.coef_[0].astype(np.float32)
    return tables


def _stacked(
    examples: Sequence[Example],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Labels, weights and folds of all blocks in a row."""
    labels = np.concatenate([example.labels for example in examples]).astype(np.int64)
    weights = np.concatenate([example.weights for example in examples])
    return labels, weights, np.repeat([e.fold for e in examples], [len(e.labels) for e in examples])


def _grow(
    matrices: Sequence[NDArray[np.float32]], examples: Sequence[Example], fold: int, trees: Trees, seed: int
) -> Forest:
    import lightgbm

    use = [at for at, example in enumerate(examples) if example.fold != fold]
    data = lightgbm.Dataset(
        np.concatenate([matrices[at] for at in use]),
        np.concatenate([examples[at].labels for at in use]),
        weight=np.concatenate([examples[at].weights for at in use]),
    )
    settings = {
        "objective": "binary", "learning_rate": trees.rate, "num_leaves": 1 << trees.depth, "max_depth": trees.depth,
        "min_data_in_leaf": trees.least, "lambda_l2": 5.0, "max_bin": 127,
        "feature_fraction": 0.5, "bagging_fraction": 0.8, "bagging_freq": 1,
        "deterministic": True, "force_row_wise": True, "num_threads": 1, "seed": seed, "verbosity": -1,
    }  # fmt: skip
    return to_forest(lightgbm.train(settings, data, trees.trees).dump_model()["tree_info"], trees.depth)


def to_forest(trees: Sequence[dict[str, Any]], depth: int) -> Forest:
    """LightGBM's trees, none deeper than ``depth``, as complete ones."""
    questions = (1 << depth) - 1
    feature = np.zeros((len(trees), questions), np.uint16)
    threshold = np.full((len(trees), questions), np.inf, np.float32)
    value = np.zeros((len(trees), questions + 1), np.float32)
    for number, tree in enumerate(trees):
        waiting = [(tree["tree_structure"], 0)]
        while waiting:
            node, at = waiting.pop()
            if at >= questions:
                value[number, at - questions] = node["leaf_value"]
            elif "split_feature" in node:
                feature[number, at], threshold[number, at] = node["split_feature"], round_down(node["threshold"])
                waiting += [(node["left_child"], 2 * at + 1), (node["right_child"], 2 * at + 2)]
            else:  # ends early: every way on from here is the left one
                waiting.append((node, 2 * at + 1))
    return Forest(feature, threshold, value)


def round_down(value: float) -> float:
    """The greatest float32 that is not above ``value``: it sends float32 features the same way."""
    rounded = np.float32(value)
    return float(rounded if float(rounded) <= value else np.nextafter(rounded, np.float32(-np.inf)))
