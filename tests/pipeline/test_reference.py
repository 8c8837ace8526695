"""The reference of stages says what the code says, about all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.columns import column_docs
from pipeline.reference import ENGINE, READING, REASONS, example_stage, reference
from pipeline.reference_training import PARTS, training_reference
from stages.catalogue import STAGE_KINDS
from stages.rules import load_rules
from stages.ruleset_files import shipped
from stages.signals import SIGNALS

ROOT = Path(__file__).parents[2]


def test_the_committed_reference_is_current():
    committed = (ROOT / "docs/stages.md").read_text("utf-8")
    assert committed == reference(), "run: python -m pipeline.reference > docs/stages.md"


def test_every_field_of_every_stage_has_a_help_text():
    missing = [
        f"{kind}.{name}"
        for kind, model in STAGE_KINDS.items()
        for name, field in model.model_fields.items()
        if name != "kind" and not field.description
    ]
    assert not missing


@pytest.mark.parametrize("kind", STAGE_KINDS)
def test_every_column_a_stage_adds_has_a_meaning(kind):
    assert set(example_stage(kind).adds()) <= set(column_docs())


def test_every_signal_and_every_rule_is_in_the_reference():
    page = reference()
    names = [*SIGNALS, *(rule.name for ruleset in shipped() for rule in load_rules((ruleset,)))]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_reason_written_in_the_code_is_in_the_reference():
    known = {reason for rows in (READING, ENGINE, *REASONS.values()) for reason, _ in rows}
    written = set()
    for path in (ROOT / "stages").rglob("*.py"):
        # whole literals only: a reason with a hole ({...}) is described by its form
        text = path.read_text("utf-8")
        written |= set(re.findall(r'"((?:[a-z_]+/[a-z_0-9]+@\d+)|(?:quarantine/[a-z_]+))"', text))
    ruled = {rule.name for ruleset in shipped() for rule in load_rules((ruleset,))}
    assert written - ruled <= known
    assert len(written - ruled) > 20


def test_the_committed_settings_of_trainings_are_current():
    committed = (ROOT / "docs/training_settings.md").read_text("utf-8")
    assert committed == training_reference(), "run: python -m pipeline.reference_training > docs/training_settings.md"


def test_every_setting_of_a_training_has_a_help_text():
    models = [model for parts in PARTS.values() for model in parts.values()]
    fields = [(model, name, field) for model in models for name, field in model.model_fields.items()]
    assert not [f"{m.__name__}.{name}" for m, name, field in fields if name != "kind" and not field.description]
