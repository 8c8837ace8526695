"""The configuration refuses what cannot work, and shows what its numbers mean."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from stages.dedup import Dedup


def test_the_defaults_are_those_of_the_method():
    config = Dedup()
    assert (config.num_hashes, config.ngram, config.bands, config.rows, config.jaccard) == (128, 5, 14, 9, 0.7)
    assert config.scope == "corpus"
    assert config.anchor_threshold == 0.7


def test_bands_times_rows_may_use_all_hashes_but_not_one_more():
    assert Dedup(num_hashes=126).bands == 14
    with pytest.raises(ValidationError, match="126 hashes, num_hashes is 125"):
        Dedup(num_hashes=125)


def test_comparing_nothing_is_an_error():
    assert not Dedup(near=False).near
    with pytest.raises(ValidationError, match="both off"):
        Dedup(near=False, exact=False)


def test_an_unknown_key_is_an_error():
    with pytest.raises(ValidationError, match="treshold"):
        Dedup.model_validate({"treshold": 0.7})


@pytest.mark.parametrize(
    ("jaccard", "expected"), [(0.5, 0.027), (0.6, 0.132), (0.7, 0.438), (0.75, 0.665), (0.8, 0.867), (0.9, 0.999)]
)
def test_the_s_curve_agrees_with_the_published_table(jaccard, expected):
    assert Dedup().candidate_probability(jaccard) == pytest.approx(expected, abs=6e-4)


def test_importing_the_configuration_loads_no_compiler():
    code = "import sys, stages.dedup; sys.exit('numba' in sys.modules or 'datasketch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
