"""One conformance suite for all shipped scorers, and what each of them must be able to tell apart."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality_models import load_scorer
from quality_models.fasttext_scorer import FastTextScorer

NAMES = ["adult", "fluency", "not_ad", "toxicity"]
SCORERS = {name: load_scorer(name) for name in NAMES}

ARTICLE = (
    "The committee met on Tuesday to discuss the future of the old railway station. Several residents said that they "
    "would like to see it turned into a library, while others thought that a market would bring more visitors to the "
    "town. After two hours of discussion, the chairwoman announced that a decision would be made in the spring, when "
    "the results of a survey are known. The building has been empty for almost twenty years, and its roof is in need "
    "of repair. According to the council, the work would cost less than a new building of the same size."
)
HEALTH = (
    "Breast cancer screening is recommended for women over fifty. During the examination, the doctor feels the breast "
    "and the armpit for lumps. Sexually transmitted infections may cause pain in the vagina, penis or anus, and they "
    "can be treated with antibiotics. Talk to your doctor about sexual health before you become pregnant."
)
MENU = "Home\nAbout Us\nProducts\nContact\nLog In\nSite Map\nPrivacy Policy\nSearch\nNews (12)\nForum\nNext »\n" * 3
SHOP = (
    "Buy now and save 40% on all running shoes! Free shipping on orders over $50. Use coupon code SUMMER at checkout. "
    "Add to cart. Our best price guaranteed. Order today, limited time offer, while stocks last! Shop our full range "
    "of handbags and watches at unbeatable prices. Was $89.99, now $49.99. Sign up for exclusive offers and deals."
)
ABUSE = "You are a stupid idiot and a worthless piece of trash. Shut up, moron. Nobody wants scum like you here."
SITE = "Free porn videos, hot milf sex, xxx movies and hentai. Watch amateur porn, big tits and anal sex in HD."


def score(name: str, text: str) -> float:
    return float(SCORERS[name].score([text])[0])


@pytest.fixture(params=NAMES)
def scorer(request: pytest.FixtureRequest) -> FastTextScorer:
    return SCORERS[request.param]


ANY_TEXT = st.text(alphabet=st.characters(), max_size=200)


@settings(max_examples=40)
@given(st.lists(ANY_TEXT, max_size=6))
def test_any_texts_get_one_finite_score_each_between_0_and_1(texts: list[str]) -> None:
    for scorer in SCORERS.values():
        scores = scorer.score(texts)
        assert scores.dtype == np.float32
        assert scores.shape == (len(texts),)
        assert ((scores >= 0) & (scores <= 1)).all()


def test_a_score_depends_on_the_text_alone(scorer: FastTextScorer) -> None:
    texts = [ARTICLE, HEALTH, MENU, SHOP, ABUSE, SITE, "", "x", ARTICLE * 20]
    alone = {text: scorer.score([text])[0] for text in texts}
    for seed in range(5):
        mixed = texts * 3
        random.Random(seed).shuffle(mixed)
        assert scorer.score(mixed).tolist() == [alone[text] for text in mixed]


def test_a_freshly_loaded_model_gives_the_same_scores(scorer: FastTextScorer) -> None:
    assert load_scorer(scorer.card.name).score([ARTICLE, SHOP]).tolist() == scorer.score([ARTICLE, SHOP]).tolist()


@pytest.mark.parametrize("text", ["", " \n\t ", "\u00a0", "\ud800"])
def test_a_text_without_words_scores_zero(scorer: FastTextScorer, text: str) -> None:
    assert scorer.score([text]).tolist() == [0.0]


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "</s> " * 1000,
        "__label__yes " * 1000,
        "\x00" * 5000,
        "\n" * 5000,
        "\u202e\ufffd" * 3000,
        "é" * 9999,
    ],
    ids=["one long word", "end of line tokens", "labels", "nulls", "newlines", "marks", "two-byte letters"],
)
def test_hostile_texts_are_scored_without_harm(scorer: FastTextScorer, text: str) -> None:
    assert 0.0 <= scorer.score([text])[0] <= 1.0


def test_insults_are_toxic_and_ordinary_texts_are_not() -> None:
    bound = SCORERS["toxicity"].card.threshold
    assert score("toxicity", ABUSE) > bound
    assert max(score("toxicity", text) for text in (ARTICLE, HEALTH, MENU, SHOP)) < bound / 2


def test_an_insulting_part_of_a_long_document_counts() -> None:
    long = ARTICLE * 10
    assert score("toxicity", long + ABUSE * 8) > score("toxicity", long) + 0.3


def test_neutral_sentences_about_groups_are_not_toxic() -> None:
    groups = ["Muslims", "Jews", "black people", "gay people", "women", "immigrants", "Christians", "white people"]
    texts = [f"The museum shows how {group} lived in this town two hundred years ago." for group in groups]
    assert SCORERS["toxicity"].score(texts).max() < SCORERS["toxicity"].card.threshold


def test_sites_are_adult_and_medicine_is_not() -> None:
    bound = SCORERS["adult"].card.threshold
    assert score("adult", SITE) > bound
    assert max(score("adult", text) for text in (ARTICLE, HEALTH, MENU, SHOP)) < bound / 2


def test_prose_is_more_fluent_than_what_is_left_of_it() -> None:
    words = ARTICLE.split()
    random.Random(1).shuffle(words)
    torn = [" ".join(words), ", ".join(sorted(set(words))), MENU, "\n".join(ARTICLE.split()[::3])]
    assert score("fluency", ARTICLE) > 0.8
    assert max(score("fluency", text) for text in torn) < 0.4


def test_a_shop_is_advertising_and_an_article_or_a_menu_is_not() -> None:
    assert score("not_ad", SHOP) < SCORERS["not_ad"].card.threshold
    assert min(score("not_ad", text) for text in (ARTICLE, HEALTH, MENU)) > 0.6
