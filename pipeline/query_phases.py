"""From seeds to the queries of a harvest and what they find, in rounds, as phases.

    queries.seeds    once: the seeds, as queries of round 0
    queries.write    per block of the newest queries: drafts, by a language model or from what the queries found
    queries.pool     per round: drafts -> new queries; those turned down are counted by reason
    search.*         per round: what the new queries find (pipeline.search_phases)
    queries.novelty  per round: how many of the documents found are new

It stops after the rounds that were asked for, when nothing new was written, or when a round finds little that is new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.commit import TaskRecord
from corpus.errors import RunError
from corpus.shards import ShardReader, write_table
from corpus.storage import FileEntry, Store, fetch
from llm.cache import ResponseCache
from llm.client import Client
from llm.config import Endpoint
from pipeline.dedup_phases import Runner
from pipeline.feedback import FeedbackPayload, write_keyphrases
from pipeline.index_phases import IndexCard
from pipeline.search_phases import all_ranked, search
from pipeline.task import Context, Place, Result, Task, Written, task_key
from retrieval.cleaning import Cleaning, clean
from retrieval.config import Harvest
from retrieval.queries import Kind, Query, from_table, to_table
from retrieval.seeds import read_seeds
from retrieval.writers.keyphrases import ORIGIN, Keyphrases
from retrieval.writers.language_model import Answers, LanguageModel, write

PARENTS_PER_ANSWER_TASK = 64
PARENTS_PER_KEYPHRASE_TASK = 1024
NOVELTY = pa.schema([("doc", pa.uint64())])


@dataclass(frozen=True)
class Round:
    """One round: its queries, what they found, and the account of how they came about."""

    number: int
    queries: FileEntry
    ranked: tuple[TaskRecord, ...]
    account: dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What the phases work with."""

    config: Harvest
    index: IndexCard
    index_place: Place
    place: Place
    runner: Runner
    code: str
    gpus: float
    endpoint: Endpoint | None = None


@dataclass(frozen=True)
class SeedPayload:
    seeds: tuple[Query, ...]


@dataclass(frozen=True)
class WritePayload:
    parents: FileEntry
    start: int
    end: int
    kind: Kind
    config: LanguageModel
    endpoint: Endpoint
    cache: str | None
    round: int


@dataclass(frozen=True)
class PoolPayload:
    drafts: tuple[FileEntry, ...]
    pool: tuple[FileEntry, ...]
    cleaning: Cleaning
    room: int


@dataclass(frozen=True)
class NoveltyPayload:
    before: FileEntry | None
    ranked: tuple[TaskRecord, ...]


@dataclass
class _State:
    rounds: list[Round] = field(default_factory=list)
    found: FileEntry | None = None


def bootstrap(bench: Bench) -> list[Round]:
    """All rounds, that of the seeds first. Raises ``CorpusError``, also when a model answers nothing usable."""
    seeds = tuple(read_seeds(bench.config.seeds))
    key = task_key(bench.code, "seeds", [list(seed) for seed in seeds])
    task = Task("queries.seeds", f"{len(seeds)} seeds", key, write_seeds, SeedPayload(seeds))
    (record,) = bench.runner.run_phase("queries.seeds", [task])
    state = _State()
    _ask(bench, state, 0, record.file("queries"), {"origin": "seeds", "drafts": len(seeds)})
    for number in range(1, bench.config.queries.rounds + 1):
        entry, account = _write_round(bench, state, number)
        if not entry.rows:
            nothing = {"queries": 0, "found": 0, "new": 0, "stopped": "no new query was written"}
            state.rounds.append(Round(number, entry, (), account | nothing))
            break
        novelty = _ask(bench, state, number, entry, account)
        if novelty < bench.config.queries.min_novelty:
            state.rounds[-1].account["stopped"] = f"novelty {novelty:.3f} is below {bench.config.queries.min_novelty}"
            break
    return state.rounds


def _ask(bench: Bench, state: _State, number: int, queries: FileEntry, account: dict[str, Any]) -> float:
    """Search for a round's queries and take down how much of what they find is new."""
    where = bench.index, bench.index_place
    ranked = search(*where, queries, bench.config.search, bench.code, bench.runner, gpus=bench.gpus)
    phase = f"queries.novelty_{number}"
    hashes = [record.file("ranked").sha256 for record in ranked]
    key = task_key(bench.code, "novelty", state.found.sha256 if state.found else None, hashes)
    payload = NoveltyPayload(state.found, tuple(ranked))
    (record,) = bench.runner.run_phase(phase, [Task(phase, f"round {number}", key, count_new, payload)])
    state.found = record.file("found")
    account |= {"queries": queries.rows, "found": record.facts["found"], "new": record.facts["new"]}
    state.rounds.append(Round(number, queries, tuple(ranked), account))
    return float(record.facts["new"]) / max(int(record.facts["found"]), 1)


def _write_round(bench: Bench, state: _State, number: int) -> tuple[FileEntry, dict[str, Any]]:
    last, writer = state.rounds[-1], bench.config.writer
    pool = [each.queries for each in state.rounds]
    if isinstance(writer, Keyphrases):
        drafts = bench.runner.run_phase(f"queries.write_{number}", _keyphrase_tasks(bench, writer, last, number))
        return _pool(bench, number, "", drafts, pool, {"origin": ORIGIN})
    asked = _ask_model(bench, writer, "question", last.queries, number)
    questions, account = _pool(bench, number, "", asked, pool, _usage(asked, writer))
    if not writer.thoughts or not questions.rows:
        return questions, account
    answered = _ask_model(bench, writer, "thought", questions, number)
    both, told = _pool(bench, number, "_thoughts", answered, [*pool, questions], _usage(answered, writer), questions)
    return both, _summed(account, told)


def _keyphrase_tasks(bench: Bench, writer: Keyphrases, last: Round, number: int) -> list[Task]:
    texts = [shard.files["texts"] for shard in bench.index.shards]
    identity = [bench.code, writer.model_dump(), last.queries.sha256, [entry.sha256 for entry in texts], number]
    tasks = []
    for block, ranked in enumerate(last.ranked):
        payload = FeedbackPayload(writer, last.queries, ranked, bench.index, bench.index_place, number)
        key = task_key(*identity, ranked.file("ranked").sha256, block)
        tasks.append(Task(f"queries.write_{number}", f"block {block}", key, write_keyphrases, payload))
    return tasks


def _ask_model(bench: Bench, writer: LanguageModel, kind: Kind, parents: FileEntry, number: int) -> list[TaskRecord]:
    assert bench.endpoint is not None
    prompt = writer.prompt(kind)
    asking = writer.model_dump(mode="json", exclude={"endpoint", "serve", "prompts", "max_refused_share"})
    phase = f"queries.{kind}s_{number}"
    root = bench.place.open().root
    cache = None if "://" in root else str(Path(root) / ".work" / "answers.sqlite")
    tasks = []
    for start in range(0, parents.rows, PARENTS_PER_ANSWER_TASK):
        end = min(start + PARENTS_PER_ANSWER_TASK, parents.rows)
        key = task_key(bench.code, bench.endpoint.model, prompt.sha256, asking, kind, parents.sha256, start, end)
        payload = WritePayload(parents, start, end, kind, writer, bench.endpoint, cache, number)
        tasks.append(Task(phase, f"{kind}s for {end - start} queries", key, ask_model, payload))
    return bench.runner.run_phase(phase, tasks)


def _pool(
    bench: Bench,
    number: int,
    suffix: str,
    drafts: Sequence[TaskRecord],
    pool: Sequence[FileEntry],
    account: dict[str, Any],
    ahead: FileEntry | None = None,
) -> tuple[FileEntry, dict[str, Any]]:
    """New queries out of drafts; with ``ahead`` queries of the same round stand in front of them."""
    settings = bench.config.queries
    room = max(0, settings.max_queries - sum(entry.rows for entry in pool))
    files = tuple(record.file("drafts") for record in drafts)
    phase = f"queries.pool_{number}{suffix}"
    hashes = [entry.sha256 for entry in (*files, *pool)]
    key = task_key(bench.code, hashes, settings.cleaning.model_dump(mode="json"), room, ahead is not None)
    payload = PoolPayload(files, tuple(pool), settings.cleaning, room)
    function = pool_thoughts if ahead is not None else pool_drafts
    (record,) = bench.runner.run_phase(phase, [Task(phase, f"round {number}", key, function, payload)])
    account |= {"drafts": record.facts["drafts"], "removed": record.facts["removed"]}
    return record.file("queries"), account


def _usage(records: Sequence[TaskRecord], writer: LanguageModel) -> dict[str, Any]:
    names = ("requests", "prompt_tokens", "completion_tokens")
    counts = {name: sum(record.facts[name] for record in records) for name in names}
    prompts = ", ".join(f"{p.name}@{p.version}" for p in (writer.prompt("question"), writer.prompt("thought")))
    return {"origin": f"language model, {prompts}", **counts, "refused": _total(records, "refused")}


def _summed(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    total = dict(one)
    for name, value in other.items():
        if isinstance(value, dict):
            total[name] = dict(sorted((Counter(total[name]) + Counter(value)).items()))
        elif isinstance(value, int):
            total[name] += value
    return total


def _total(records: Sequence[TaskRecord], name: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for record in records:
        total.update(record.facts[name])
    return dict(sorted(total.items()))


def write_seeds(payload: SeedPayload, context: Context) -> Result:
    """Task: the seeds as a table of queries."""
    return Result(files={"queries": _write_queries(context.staging / "queries.parquet", payload.seeds)})


def ask_model(payload: WritePayload, context: Context) -> Result:
    """Task: have the language model write about some queries."""
    parents = read_queries(context.store, payload.parents)[payload.start : payload.end]
    cache = ResponseCache(Path(payload.cache)) if payload.cache else None
    found = write(Client(payload.endpoint, cache), parents, payload.kind, payload.config, payload.round)
    _refuse_silence(found, payload)
    facts = {
        "requests": found.requests,
        "refused": found.refused,
        "prompt_tokens": found.prompt_tokens,
        "completion_tokens": found.completion_tokens,
    }
    return Result(files={"drafts": _write_queries(context.staging / "drafts.parquet", found.drafts)}, facts=facts)


def _refuse_silence(found: Answers, payload: WritePayload) -> None:
    """A task that raises is not finished: run again, it asks only what it has no stored answer to."""
    silent = sum(found.refused.values())
    if silent > payload.config.max_refused_share * found.requests:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(found.refused.items()))
        raise RunError(
            f"{silent} of {found.requests} requests to the language model got no usable answer: {causes}",
            where=f"{payload.kind}s of round {payload.round}, model {payload.endpoint.model}",
            fix="look at the server and its model, then run again; writer.max_refused_share sets this limit",
        )


def pool_drafts(payload: PoolPayload, context: Context) -> Result:
    """Task: clean drafts and keep those that nobody has asked yet."""
    kept, facts = _cleaned(payload, context)
    return Result(files={"queries": _write_queries(context.staging / "queries.parquet", kept)}, facts=facts)


def pool_thoughts(payload: PoolPayload, context: Context) -> Result:
    """Task: the same, with the questions of the round, the last of the pool, in front."""
    kept, facts = _cleaned(payload, context)
    questions = read_queries(context.store, payload.pool[-1])
    written = _write_queries(context.staging / "queries.parquet", [*questions, *kept])
    return Result(files={"queries": written}, facts=facts)


def _cleaned(payload: PoolPayload, context: Context) -> tuple[list[Query], dict[str, Any]]:
    drafts = [query for entry in payload.drafts for query in read_queries(context.store, entry)]
    pool = [query for entry in payload.pool for query in read_queries(context.store, entry)]
    kept, removed = clean(drafts, pool, payload.cleaning)
    over = max(0, len(kept) - payload.room)
    if over:
        removed["over_max_queries"] = over
    return kept[: payload.room], {"drafts": len(drafts), "removed": removed}


def count_new(payload: NoveltyPayload, context: Context) -> Result:
    """Task: the documents that any query has taken so far, and how many of a round's were not among them."""
    ranked = all_ranked(context.store, payload.ranked)
    found = np.unique(ranked.filter(pc.is_null(ranked.column("reason"))).column("doc").to_numpy())
    before = np.zeros(0, np.uint64)
    if payload.before is not None:
        with fetch(context.store, payload.before) as file:
            before = ShardReader(file).read().column("doc").to_numpy()
    everything = np.union1d(before, found)
    path = context.staging / "found.parquet"
    rows = write_table(path, pa.table([everything], schema=NOVELTY), row_group_rows=1 << 16)
    return Result(files={"found": Written(path, rows)}, facts={"found": len(found), "new": rows - len(before)})


def read_queries(store: Store, entry: FileEntry) -> list[Query]:
    """A table of queries from a work file."""
    with fetch(store, entry) as file:
        return from_table(ShardReader(file).read())


def _write_queries(path: Path, queries: Sequence[Query]) -> Written:
    return Written(path, write_table(path, to_table(list(queries))))
