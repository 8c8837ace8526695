"""From seeds to the queries of a harvest and what they find, in rounds, as phases.

    queries.seeds    once: the seeds, as queries of round 0
    queries.write    per block of the newest queries: drafts, by a language model or from what the queries found
    queries.pool     per round: drafts -> new queries; those turned down are counted by reason
    search.*         per round: what the new queries find (pipeline.harvest.search)
    queries.novelty  per round: how many of the documents found are new

It stops after the rounds that were asked for, when nothing new was written, or when a round finds little that is new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.commit import TaskRecord
from corpus.storage import FileEntry
from llm.config import Endpoint
from pipeline.dedup_phases import Runner
from pipeline.harvest.feedback import FeedbackPayload, write_keyphrases
from pipeline.harvest.index_card import IndexCard
from pipeline.harvest.query_tasks import (
    NoveltyPayload,
    PoolPayload,
    SeedPayload,
    WritePayload,
    ask_model,
    count_new,
    pool_drafts,
    pool_thoughts,
    write_seeds,
)
from pipeline.harvest.search import search
from pipeline.task import Place, Task, task_key
from retrieval.config import Harvest
from retrieval.queries import Kind
from retrieval.seeds import read_seeds
from retrieval.writers.keyphrases import ORIGIN, Keyphrases
from retrieval.writers.language_model import LanguageModel

PARENTS_PER_ANSWER_TASK = 16


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
