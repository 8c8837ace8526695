"""The stage around the kernel: columns, types, worst cases, real text, and no step out of bounds on any bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus.schema import TRAVEL, signal
from stages.signals import FIELDS, SIGNALS, Signals, measure
from stages.signals.definitions import _ALL
from stages.signals.kernel import make_reference
from stages.signals.slots import NAMES
from stages.signals.stop_words import ENGLISH, GOPHER

ROOT = Path(__file__).parents[3]


def batch_of(texts: list[str]) -> pa.Table:
    columns = {field.name: pa.nulls(len(texts), field.type) for field in TRAVEL}
    return pa.table(columns | {"content": pa.array(texts, pa.large_string())}, schema=TRAVEL)


def run(texts: list[str]) -> pa.Table:
    return Signals().open(None)(batch_of(texts))  # type: ignore[arg-type]


def test_the_stage_adds_what_it_declares_with_the_declared_types() -> None:
    before, after = batch_of(["Some text."]), run(["Some text."])
    added = {name: after.schema.field(name).type for name in after.column_names if name not in before.column_names}
    struct = added.pop("signals")
    assert added | {f"signals.{field.name}": field.type for field in struct} == Signals().adds()


def test_an_empty_batch_stays_empty() -> None:
    assert run([]).num_rows == 0


def test_every_signal_is_defined_once_and_documented() -> None:
    assert len(SIGNALS) == len(_ALL)
    assert all(signal.doc.endswith((".", ")")) and signal.unit for signal in SIGNALS.values())
    assert {signal.count for signal in SIGNALS.values()} <= set(NAMES)
    assert set(FIELDS) == {"token_num", "cbytes_num", "line_num", "char_num"}


def test_a_document_is_measured_alike_alone_and_among_others() -> None:
    texts = ["A short one.", "", "x " * 5000, "Ein längerer Text, der Umlaute hat.\n\nUnd zwei Absätze."] * 3
    together = measure(pa.array(texts, pa.large_string()))
    sliced = measure(
        pa.chunked_array([pa.array(["", *texts[:5]], pa.large_string())[1:], texts[5:]], pa.large_string())
    )
    for name, values in together.items():
        assert values.tolist() == sliced[name].tolist()
        assert values.tolist() == [measure(pa.array([text]))[name][0].item() for text in texts]


def test_all_stop_words_are_found() -> None:
    text = " ".join(word.upper() for word in sorted(ENGLISH))
    values = measure(pa.array([text]))
    assert values["stop_word_count"][0] == len(ENGLISH)
    assert values["gopher_stop_words"][0] == len(GOPHER)
    assert np.count_nonzero(make_reference().stop_keys) == len(ENGLISH)


@pytest.mark.parametrize(
    "unit",
    ["a", " ", "\n", "a ", "!?", "a\n", "&#", "a.", "é", "你", "\U0001f600", "<|", "a b c d e f g h i j k ", "l"],
)
def test_a_million_of_one_thing_is_measured_in_linear_memory_and_time(unit: str) -> None:
    values = measure(pa.array([unit * (1_000_000 // len(unit))], pa.large_string()))
    assert values["character_count"][0] == 1_000_000 // len(unit) * len(unit)


def test_repetition_rises_with_repetition() -> None:
    varied = " ".join(f"word{at}" for at in range(200))
    values = measure(pa.array([varied, f"{varied}\n{varied}", f"{varied}\n" * 10]))
    for name in ("duplicate_5_gram_fraction", "duplicate_10_gram_fraction", "duplicate_line_character_fraction"):
        once, twice, often = values[name].tolist()
        assert once == 0 < twice < often <= 1


FUZZ = """
import random, sys
import numpy as np
from stages.edit_kernel import RULES, edit_texts
from stages.normalise_kernel import clean_texts
from stages.signals.kernel import count_batch, make_reference

random.seed(7)
reference = make_reference()
seeds = [s.encode() for s in ("Hello, &amp; <p> <|im|> \\\\ud83d 你好 \\u200b\\ufeff... x\\n\\n- é [12] [edit]",
                              "use cookies:\\nlorem ipsum\\njavascript\\r\\nhttp://a.b privacy policy 3.14 &#8230;")]
for size in [1] * 40 + [60] * 50:
    texts = []
    for _ in range(size):
        text = bytearray(random.choice(seeds) * random.randint(0, 3))
        for _ in range(random.randint(0, 12)):
            kind, at = random.random(), random.randint(0, len(text))
            if kind < 0.4 and at < len(text): text[at] = random.randrange(256)
            elif kind < 0.7: del text[at:at + random.randint(0, 20)]
            else: text[at:at] = bytes(random.choices(b"&<[l \\n\\xe2\\x80\\xf4\\xff", k=random.randint(1, 9)))
        texts.append(bytes(text))
    data = np.frombuffer(b"".join(texts) or b"\\0", np.uint8)
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    data.flags.writeable = offsets.flags.writeable = False
    rows = count_batch(data, offsets, reference)
    assert (rows >= 0).all() and rows[:, 0].tolist() == [len(t) for t in texts]
    n, total = len(texts), int(offsets[-1])
    out, ends = np.empty(total, np.uint8), np.zeros(n + 1, np.int64)
    clean_texts(data, offsets, out, ends, np.zeros((n, 4), np.int32), np.zeros(n, np.bool_))
    assert (np.diff(ends) <= np.diff(offsets)).all()
    active, bounds = np.array([random.random() < 0.7 for _ in range(RULES)]), np.array([3, 1000])
    edit_texts(data, offsets, active, bounds, out, ends, np.zeros((n, RULES), np.int32))
    assert (np.diff(ends) <= np.diff(offsets)).all()
print("ok")
"""


def test_no_bytes_lead_the_kernels_out_of_bounds(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """3,040 mutated texts, bounds checks compiled in. A cache of its own: the flag is not part of numba's key."""
    environment = os.environ | {
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(pytestconfig.cache.mkdir("bounds-checked-kernels")),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", FUZZ], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "ok"


def test_signal_columns_can_be_read_back() -> None:
    assert signal(run(["One two three."]), "word_count").to_pylist() == [3]
