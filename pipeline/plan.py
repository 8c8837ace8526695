"""From a manifest to a plan: which phases, over which units, with which columns - all known before any work starts.

Stages between two barriers form a *segment* and run fused, one task per unit. Barriers (``scope = "corpus"``: dedup,
rank cut) stand between segments. The plan also fixes the columns of everything that is written and proves that every
stage finds what it needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from corpus.errors import ManifestError
from corpus.schema import IDENTITY, TRAVEL, VERDICT
from pipeline.barriers import Barrier, DedupBarrier, RankBarrier
from pipeline.chain import stage_names
from pipeline.code import code_identity
from pipeline.manifest import Manifest
from pipeline.segment import Schemas
from pipeline.task import task_key
from retrieval.documents import COLUMNS
from stages.catalogue import STAGE_KINDS
from stages.dedup import Dedup
from stages.rank_cut import RankCut
from stages.read import Unit
from stages.stage import Stage

WANJUAN_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("id", pa.string()),
    ("content", pa.large_string()),
    ("title", pa.large_string()),
    ("language", pa.string()),
    ("date", pa.string()),
    ("token_num", pa.int32()),
    ("cbytes_num", pa.int32()),
    ("line_num", pa.int32()),
    ("char_num", pa.int32()),
    ("toxic_score", pa.float32()),
    ("porn_score", pa.float32()),
    ("fluency_score", pa.float32()),
    ("not_ad_score", pa.float32()),
)
"""The thirteen fields of the released WanJuan-CC records, in order; null where the manifest computes none."""

DEDUP_COLUMNS = (("survivor", pa.string()), ("similarity", pa.float32()))
RESULT_MODULES = ("chain", "segment", "barriers", "dedup_phases", "publish")
LIBRARIES = (
    *("pyarrow", "numpy", "numba", "isal", "resiliparse", "trafilatura", "lxml"),
    *("pycld2", "fasttext-numpy2-wheel", "datatrove", "datasketch"),
)
"""Libraries whose version can change a result."""


@dataclass(frozen=True)
class Segment:
    """A map phase: ``stages`` run fused; ``barrier`` is the corpus-wide stage that follows, if any."""

    phase: str
    stages: tuple[Stage, ...]
    barrier: Stage | None

    def sketcher(self) -> Barrier | None:
        """What this segment must leave for its barrier."""
        if isinstance(self.barrier, Dedup):
            return DedupBarrier(self.barrier)
        return RankBarrier(self.barrier) if isinstance(self.barrier, RankCut) else None


@dataclass(frozen=True)
class Plan:
    """A validated run over known inputs."""

    manifest: Manifest
    units: tuple[Unit, ...]
    segments: tuple[Segment, ...]
    schemas: Schemas
    code: str
    run_id: str


def make_plan(manifest: Manifest, units: Sequence[Unit]) -> Plan:
    """Combine a manifest with its units of input. Raises ``ManifestError`` where stages come before there is text."""
    _check_text(manifest.stages, units)
    code = plan_code()
    inputs = [[unit.path, unit.start, unit.end, unit.fingerprint] for unit in units]
    harvest = manifest.harvest.model_dump(mode="json") if manifest.harvest else None
    identity = task_key(code, manifest.name, stage_identities(manifest.stages), inputs, harvest)
    return Plan(
        manifest=manifest,
        units=tuple(units),
        segments=segments_of(manifest.stages),
        schemas=schemas_of(manifest.stages, columns_ahead(manifest)),
        code=code,
        run_id=f"{manifest.name}-{identity[:12]}",
    )


def _check_text(stages: Sequence[Stage], units: Sequence[Unit]) -> None:
    """Web pages have no text before ``extract``: without it every page would be kept, or judged, as an empty one."""
    page = next((unit for unit in units if unit.format in ("warc", "arc")), None)
    if page is None:
        return
    for stage in stages:
        if stage.kind == "extract":
            return
        if "content" in stage.needs():
            raise ManifestError(
                f"stage {stage.kind!r} needs the text of pages, which comes from 'extract'",
                where=page.path,
                fix="put 'extract' in front of it",
            )
    raise ManifestError("web pages need the stage 'extract'", where=page.path, fix="add `- kind: extract`")


def columns_ahead(manifest: Manifest) -> Mapping[str, pa.DataType]:
    """Columns that documents have before the first stage: those of a harvest."""
    return COLUMNS if manifest.harvest else {}


def segments_of(stages: Sequence[Stage]) -> tuple[Segment, ...]:
    """Cut the stage list at its barriers."""
    segments: list[Segment] = []
    phase, current = "documents", list[Stage]()
    for stage in stages:
        if stage.scope == "batch":
            current.append(stage)
            continue
        segments.append(Segment(phase, tuple(current), stage))
        phase, current = f"after_{stage.kind}", []
    return (*segments, Segment(phase, tuple(current), None))


def check_columns(manifest: Manifest) -> None:
    """Prove that every stage finds its columns. Raises ``ManifestError`` naming the stage that would provide them."""
    stages = manifest.stages
    have = {*TRAVEL.names, *columns_ahead(manifest)}
    seen: set[str] = set()
    for name, stage in stage_names(stages):
        missing = sorted(stage.needs() - have)
        if missing:
            raise ManifestError(
                f"stage {name!r} needs {', '.join(missing)}, which no stage before it provides",
                fix=_provider_hint(missing, stages) or "check the order of the stages",
            )
        if stage.scope == "corpus" and stage.kind in seen:
            raise ManifestError(f"stage {stage.kind!r} stands there twice", fix="one is enough: it sees all documents")
        have.update(stage.adds())
        seen.add(stage.kind)


def _provider_hint(missing: Sequence[str], stages: Sequence[Stage]) -> str:
    later = [stage.kind for stage in stages if set(missing) & set(stage.adds())]
    if later:
        return f"move {later[0]!r} in front of it"
    return f"add the stage that computes it; kinds are {', '.join(STAGE_KINDS)}"


def schemas_of(stages: Sequence[Stage], ahead: Mapping[str, pa.DataType]) -> Schemas:
    """The columns of living, rejected and quarantined rows, for the whole run; ``ahead`` are there before any stage."""
    added = dict(ahead)
    for stage in stages:
        added.update(stage.adds())
    fixed = [pa.field(name, kind) for name, kind in WANJUAN_FIELDS]
    known = {name for name, _ in WANJUAN_FIELDS}
    fixed += [pa.field(name, kind) for name, kind in IDENTITY if name not in known]
    fixed += [pa.field("truncated", pa.string()), pa.field("detail", pa.large_string())]
    known |= {field.name for field in fixed}
    fixed += [pa.field(name, kind) for name, kind in added.items() if "." not in name and name not in known]
    signals = [pa.field(n.split(".", 1)[1], kind) for n, kind in added.items() if n.startswith("signals.")]
    if signals:
        fixed.append(pa.field("signals", pa.struct(signals)))
    live = pa.schema(fixed)
    verdict = [pa.field(name, kind) for name, kind in VERDICT if name != "detail"]
    duplicate = [pa.field(name, kind) for name, kind in DEDUP_COLUMNS]
    sick = [
        *IDENTITY,
        *VERDICT,
        *((f.name, f.type) for f in TRAVEL if f.name in ("http_content_type", "html", "content")),
    ]
    return Schemas(
        live=live, rejected=pa.schema([*live, *verdict, *duplicate]), quarantine=pa.schema([pa.field(*f) for f in sick])
    )


def stage_identities(stages: Sequence[Stage]) -> list[Mapping[str, object]]:
    """Configurations of stages, with the content of the files they name: what their result depends on."""
    return [
        {**stage.model_dump(mode="json"), "files": [_file_identity(path) for path in stage.files()]} for stage in stages
    ]


def _file_identity(location: str) -> str:
    if "://" in location:
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(location)
        return str(filesystem.ukey(path))
    path = Path(location)
    if not path.is_file():
        raise ManifestError(f"there is no file {location}", fix="paths are relative to where the run is started")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plan_code() -> str:
    """Identity of the code that makes a corpus. The command line and reports are left out."""
    return code_identity(("corpus", "stages", "quality_models"), LIBRARIES, RESULT_MODULES)
