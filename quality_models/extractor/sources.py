"""Pages with a reference text, from the sources of a recipe.

Pages come out in a fixed order, each once: a page that has a gold text is not taught by an engine as well. The
teacher's answers are kept on disk by the page's sha1, so that a second run asks nothing again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from corpus.errors import ModelError
from quality_models.extractor.recipe import ExtractorRecipe, GoldSource, TeacherSource
from stages.extract.charset import decode_html
from stages.extract.child import Child, Overrun
from stages.extract.engines import CHILD_FUNCTION
from stages.extract.hazards import clamp_spans, look_for_hazards


@dataclass(frozen=True, slots=True)
class Labelled:
    """A page in UTF-8 and what its main text is. ``sha1`` of the bytes as found; ``kind``: gold or teacher."""

    id: str
    sha1: str
    html: bytes
    url: str | None
    reference: str
    source: str
    kind: str
    type: str
    weight: float


def read_sources(recipe: ExtractorRecipe, dropped: Counter[str]) -> Iterator[Labelled]:
    """All pages of the recipe, gold first. ``dropped`` counts what was left out, by reason."""
    seen: set[str] = set()
    ordered = sorted(recipe.sources, key=lambda source: source.kind)  # gold, then teacher
    for source in ordered:
        pages = _gold(source, recipe.data) if source.kind == "gold" else _taught(source, recipe, dropped, seen)
        for page in pages:
            if page.sha1 in seen:
                dropped["the same bytes as another page"] += 1
            elif not page.reference.strip() and page.kind == "gold":
                dropped["no reference text"] += 1
            else:
                seen.add(page.sha1)
                yield page


def _gold(source: GoldSource, data: Path) -> Iterator[Labelled]:
    path = data / source.file
    if not path.is_file():
        raise ModelError(f"there is no {path}", fix="point the recipe's data at the folder: --set data=FOLDER")
    columns = ["id", "url", "html", "gold_kind", "gold_text"]
    for row in pq.read_table(path, columns=columns).to_pylist():
        if row["gold_kind"] == source.gold_kind and row["html"]:
            html, sha1 = _utf8(row["html"], None), hashlib.sha1(row["html"], usedforsecurity=False).hexdigest()
            yield Labelled(
                f"{source.name}/{row['id']}", sha1, html, row["url"], row["gold_text"] or "", source.name, "gold",
                source.type, source.weight,
            )  # fmt: skip


def _taught(
    source: TeacherSource, recipe: ExtractorRecipe, dropped: Counter[str], seen: set[str]
) -> Iterator[Labelled]:
    paths = sorted(recipe.data.glob(source.warcs))
    if not paths:
        raise ModelError(
            f"no file matches {recipe.data / source.warcs}",
            fix="point the recipe's data at the folder: --set data=FOLDER",
        )
    with Child(CHILD_FUNCTION) as child:
        teacher = Teacher(child, recipe.output / "teacher")
        given = 0
        for path in paths:
            for identity, url, header, body in _responses(path):
                folder = identity.partition("/")[0]
                weight = source.weights.get(folder, source.weight)
                sha1 = hashlib.sha1(body, usedforsecurity=False).hexdigest()
                if weight == 0 or sha1 in seen or (source.cap is not None and given >= source.cap):
                    dropped["left out by the recipe" if sha1 not in seen else "has a gold text"] += 1
                    continue
                answer = teacher.ask(sha1, body, header)
                if answer is None:
                    dropped["the teacher failed"] += 1
                    continue
                given += 1
                yield Labelled(
                    identity, sha1, _utf8(body, header), url, answer, f"{source.name}, {folder}", "teacher",
                    source.types.get(folder, "mixed"), weight,
                )  # fmt: skip


class Teacher:
    """trafilatura in favour of precision, without comments, in a killable child; answers are kept in ``folder``."""

    def __init__(self, child: Child, folder: Path) -> None:
        self._child, self._folder = child, folder
        folder.mkdir(parents=True, exist_ok=True)

    def ask(self, sha1: str, body: bytes, header: str | None) -> str | None:
        """The main text of a page; None where the teacher does not survive it, or reads only a part of it."""
        kept = self._folder / f"{sha1}.txt"
        if kept.exists():
            return kept.read_text("utf-8")
        page = decode_html(body, header).text
        if look_for_hazards(page.encode("utf-8", "replace")).too_deep_for_libxml2:
            return None
        request = {"do": "careful", "page": clamp_spans(page), "precise": True, "comments": False}
        try:
            text = str(self._child.ask(request)["text"])
        except Overrun:
            return None
        partial = kept.with_suffix(".part")
        partial.write_text(text.encode("utf-8", "replace").decode(), "utf-8")
        partial.rename(kept)
        return text


def _responses(path: Path) -> Iterator[tuple[str, str | None, str | None, bytes]]:
    from warcio.archiveiterator import ArchiveIterator

    with path.open("rb") as stream:
        for record in ArchiveIterator(stream):
            if record.rec_type == "response" and record.http_headers:
                body = record.content_stream().read()
                url = record.rec_headers.get_header("WARC-Target-URI")
                identity = record.rec_headers.get_header("X-Page-Id") or f"{path.name}/{url}"
                yield identity, url, record.http_headers.get_header("Content-Type"), body


def _utf8(body: bytes, header: str | None) -> bytes:
    return decode_html(body, header).text.encode("utf-8", "replace")
