"""Features, forests, context, selection and the model file: from blocks to likelihoods."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import ModelError
from stages.extract.blocks.columns import Block
from stages.extract.blocks.context import CONTEXT, context_features
from stages.extract.blocks.feature_names import FEATURES, Context, Feature
from stages.extract.blocks.features import block_features
from stages.extract.blocks.forest import Forest, InvalidForestError, check_forest, predict
from stages.extract.blocks.model import Model, load_model, save_model
from stages.extract.blocks.select import best_cut, select, word_counts
from stages.extract.blocks.sums import CLASS_WEIGHTS, WORD_WEIGHTS, allocate_sums
from stages.extract.blocks.tags import hash_name
from stages.extract.blocks.tokenizer import Page, Tokenizer

NO_WORDS, NO_CLASSES = np.zeros(WORD_WEIGHTS, np.float32), np.zeros(CLASS_WEIGHTS, np.float32)
PROSE = "The fisherman went out early, and his wife waited on the cold shore for him. "
PAGE = (
    "<title>Out on the lake</title><body class=home>"
    "<nav><ul><li><a href=1>Home</a><li><a href=2>News</a></ul></nav>"
    f"<div class='thread'><div class=post><h2>Lake</h2><p>{PROSE * 2}</p></div>"
    f"<div class=post><p>{PROSE}</p></div></div>"
    "<div class='comments'><p>A comment, as long as a sentence ought to be on a page like this.</p></div>"
    "<footer>© 2020</footer>"
)


@pytest.fixture(scope="module")
def page() -> Page:
    return Tokenizer().read(PAGE.encode()).copy()


def column(page: Page, feature: Feature) -> list[float]:
    return block_features(page, NO_WORDS, NO_CLASSES)[:, feature].tolist()


def test_features_of_a_small_page(page):
    assert [page.block_text(row)[:4] for row in range(len(page.blocks))] == [
        "Home",
        "News",
        "Lake",
        "The ",
        "The ",
        "A co",
        "© 20",
    ]
    assert column(page, Feature.WORDS) == [1, 1, 1, 30, 15, 15, 1]
    assert column(page, Feature.LINK_DENSITY) == [1, 1, 0, 0, 0, 0, 0]
    assert column(page, Feature.TITLE_WORDS) == pytest.approx([0, 0, 1, 0, 0, 0, 0])
    good = column(page, Feature.GOOD)
    assert [value > 0 for value in good] == [False, False, False, True, True, True, False]
    assert column(page, Feature.GOOD_BEFORE) == pytest.approx(np.concatenate([[0], np.cumsum(good)[:-1]]) / sum(good))
    assert column(page, Feature.IN_DENSE)[2:6] == [0, 1, 0, 0]  # the long post alone is dense
    assert column(page, Feature.SINCE_HEADING)[2:5] == [99, 1, 2]
    assert column(page, Feature.POSITION) == pytest.approx([row / 7 for row in range(7)])


def test_kin_are_elements_of_the_same_tag_and_class(page):
    assert column(page, Feature.PARENT_KIN)[3:5] == [2, 2]
    shares = column(page, Feature.PARENT_KIN_GOOD)
    good = column(page, Feature.GOOD)
    assert shares[3] == shares[4] == pytest.approx((good[3] + good[4]) / sum(good))


def test_learned_weights_are_found_by_hash(page):
    words, classes = NO_WORDS.copy(), NO_CLASSES.copy()
    words[hash_name("home", points=True) & (WORD_WEIGHTS - 1)] = 3
    classes[hash_name("post") & (CLASS_WEIGHTS - 1)] = 2
    matrix = block_features(page, words, classes)
    assert matrix[:, Feature.WORD_SUM].tolist() == [3, 0, 0, 0, 0, 0, 0]
    assert matrix[:, Feature.NEAR_CLASS_SCORE].tolist() == [0, 0, 2, 2, 2, 0, 0]  # the body's own class does not count


def test_the_same_page_gives_the_same_features_whatever_came_before(page):
    sums = allocate_sums()
    first = block_features(page, NO_WORDS, NO_CLASSES, sums)
    block_features(Tokenizer().read(b"<div class=post><p>x, y.</div>" * 900), NO_WORDS, NO_CLASSES, sums)
    assert np.array_equal(first, block_features(page, NO_WORDS, NO_CLASSES, sums))


def test_context_means_are_weighted_by_words(page):
    sums = allocate_sums()
    features = block_features(page, NO_WORDS, NO_CLASSES, sums)
    likely = np.array([0, 0, 1, 1, 0.5, 0.25, 0], np.float32)
    matrix = context_features(page, features, likely, sums)
    assert matrix.shape == (7, len(FEATURES) + len(CONTEXT))
    assert np.array_equal(matrix[:, : len(FEATURES)], features)
    got = {
        name: matrix[:, len(FEATURES) + column]
        for name, column in (("total", Context.PAGE_SUM), ("mean", Context.MEAN_3))
    }
    words = word_counts(page)
    assert got["total"] == pytest.approx((words * likely).sum())
    assert got["mean"][0] == pytest.approx((words * likely)[:4].sum() / words[:4].sum())
    kin = matrix[:, len(FEATURES) + Context.KIN_MEAN]
    assert kin[3] == kin[4] == pytest.approx((1 + 30 + 7.5) / 46)


def tiny_forest(columns: int, seed: int = 0, trees: int = 5) -> Forest:
    """Complete trees of depth three with random questions."""
    random = np.random.default_rng(seed)
    feature = random.integers(columns, size=(trees, 7)).astype(np.uint16)
    return Forest(
        feature, random.normal(size=(trees, 7)).astype(np.float32), random.normal(size=(trees, 8)).astype(np.float32)
    )


def test_a_forest_goes_right_above_the_threshold_and_sums_its_leaves():
    forest = tiny_forest(4)
    matrix = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    matrix[0, :] = forest.threshold[0, 0]  # equal goes left
    expected = []
    for row in matrix:
        total = np.float32(0)
        for feature, threshold, value in zip(*forest, strict=True):
            node = 0
            while node < 7:
                node = 2 * node + (2 if row[feature[node]] > threshold[node] else 1)
            total += value[node - 7]
        expected.append(1 / (1 + np.exp(-total)))
    assert predict(forest, matrix) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: f._replace(feature=f.feature + np.uint16(4)),
        lambda f: f._replace(feature=f.feature - np.uint16(4)),
        lambda f: f._replace(feature=f.feature.astype(np.int32)),
        lambda f: f._replace(feature=f.feature[:, :6], threshold=f.threshold[:, :6], value=f.value[:, :7]),
        lambda f: f._replace(threshold=np.full_like(f.threshold, np.nan)),
        lambda f: f._replace(threshold=f.threshold[:-1]),
        lambda f: f._replace(value=f.value[:, :-1]),
        lambda f: f._replace(value=np.full_like(f.value, np.inf)),
        lambda f: Forest(f.feature[:0], f.threshold[:0], f.value[:0]),
        lambda f: Forest(f.feature[0], f.threshold[0], f.value[0]),
    ],
)
def test_a_forest_that_could_run_wild_is_refused(damage):
    check_forest(tiny_forest(4), 4)
    with pytest.raises(InvalidForestError):
        check_forest(damage(tiny_forest(4)), 4)


def tiny_model() -> Model:
    return Model(NO_WORDS, NO_CLASSES, tiny_forest(len(FEATURES)), tiny_forest(len(FEATURES) + len(CONTEXT), 1))


def test_a_model_comes_back_from_its_file_and_the_file_is_the_same_every_time(tmp_path):
    digest = save_model(tiny_model(), tmp_path / "a.npz")
    assert save_model(tiny_model(), tmp_path / "b.npz") == digest
    back = load_model(tmp_path / "a.npz", digest)
    assert all(np.array_equal(a, b) for a, b in zip(back.second, tiny_model().second, strict=True))


def test_a_model_file_that_is_not_the_pinned_one_or_none_at_all_is_refused(tmp_path):
    path = tmp_path / "m.npz"
    save_model(tiny_model(), path)
    with pytest.raises(ModelError, match="has sha256"):
        load_model(path, "0" * 64)
    whole = path.read_bytes()
    for data in (b"", b"PK", whole[: len(whole) // 2], b"\x80\x04N."):
        path.write_bytes(data)
        with pytest.raises(ModelError):
            load_model(path)
    with pytest.raises(ModelError, match="is no file"):
        load_model(tmp_path / "none")


def test_a_model_with_objects_or_of_other_features_is_refused(tmp_path):
    path = tmp_path / "m.npz"
    save_model(tiny_model(), path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for change in (
        {"first_value": np.array([{}], object)},
        {"features": np.zeros(32, np.uint8)},
        {"word_weights": np.zeros(5, np.float32)},
        {"class_weights": np.full(CLASS_WEIGHTS, np.inf, np.float32)},
        {"second_feature": np.full_like(arrays["second_feature"], 9999)},
    ):
        data = io.BytesIO()
        np.savez(data, **(arrays | change))
        path.write_bytes(data.getvalue())
        with pytest.raises(ModelError):
            load_model(path)


def test_the_modes_keep_less_and_more(page):
    likely = np.array([0.1, 0.1, 0.3, 0.9, 0.6, 0.4, 0.0], np.float32)
    kept = {
        mode: select(page, likely, mode, None).kept.nonzero()[0].tolist()
        for mode in ("precision", "balanced", "recall")
    }
    assert kept == {"precision": [3, 4], "balanced": [3, 4], "recall": [2, 3, 4, 5]}
    hopeless = np.full(7, 0.1, np.float32)
    assert not select(page, hopeless, "balanced", None).kept.any()
    assert select(page, hopeless, "recall", None).kept.all()


def test_comments_are_kept_and_dropped_by_option(page):
    likely = np.array([0.1, 0.1, 0.3, 0.9, 0.6, 0.4, 0.0], np.float32)
    assert select(page, likely, "precision", True).kept.nonzero()[0].tolist() == [3, 4, 5]
    likely[5] = 0.9
    assert select(page, likely, "precision", None).kept.nonzero()[0].tolist() == [3, 4, 5]
    assert select(page, likely, "precision", False).kept.nonzero()[0].tolist() == [3, 4]
    likely[:5] = 0.1  # the comments are the text of this page
    assert select(page, likely, "precision", False).kept.nonzero()[0].tolist() == [5]


@given(st.lists(st.floats(0, 1, width=32), min_size=7, max_size=7))
def test_no_set_of_blocks_has_a_greater_expected_f1_than_the_best_cut(likely):
    page = Tokenizer().read(PAGE.encode())
    likely = np.array(likely, np.float32)
    threshold, best = best_cut(likely, word_counts(page))
    words, total = word_counts(page), float((word_counts(page) * likely).sum())
    for mask in range(1, 128):
        kept = np.array([bool(mask >> bit & 1) for bit in range(7)])
        expected = 2 * float((words * likely)[kept].sum()) / (float(words[kept].sum()) + total)
        assert expected <= best + 1e-6
    assert 0 <= threshold <= 1 and 0 <= best <= 1


def test_a_page_without_blocks_has_no_confidence():
    empty = Tokenizer().read(b"<p>")
    assert best_cut(np.zeros(0, np.float32), np.zeros(0)) == (1.0, 0.0)
    assert block_features(empty, NO_WORDS, NO_CLASSES).shape == (0, len(FEATURES))
    assert len(empty.blocks[:, Block.WORDS]) == 0
