"""The loader: the same stream however it is made, and on from any batch as if nothing had happened."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from corpus.errors import TrainingError
from tests.training.data.made import ROOT, numbered, open_loader, rows_of, stream_hash, take
from training.data.batches import IGNORE
from training.data.source import open_tokens

BLOCKS = {"a": (9, 4, 17, 6, 1), "b": (5, 8, 3), "c": (11, 2)}
WEIGHTS = {"a": 0.5, "b": 0.3, "c": 0.2}
ROWS = {name: sum(blocks) for name, blocks in BLOCKS.items()}
MIX = {"few": 0.2, "long": 0.5, "many": 0.3}

# torch warns where there are fewer cores than workers, Python 3.12 where a process with threads forks
forking = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),  # torchdata calls it
]


def forked(test):
    for mark in forking:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def corpus(made):
    return open_tokens(str(made.out))


@pytest.fixture
def blocks():
    return numbered(BLOCKS)


@pytest.fixture(scope="module")
def calm(corpus):
    """Forty batches, read when they are asked for: what all others are held against."""
    return take(open_loader(corpus, weights=MIX, threads=0, prefetch=1), 40)


def json_again(state):
    return json.loads(json.dumps(state, allow_nan=False))


# 1: the same stream however it is made


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("prefetch", [1, 5, 60])
def test_the_stream_does_not_depend_on_threads_or_prefetch(corpus, calm, threads, prefetch):
    loader = open_loader(corpus, weights=MIX, threads=threads, prefetch=prefetch)
    assert stream_hash(take(loader, 40)) == stream_hash(calm)


@forked
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_stream_does_not_depend_on_worker_processes(corpus, calm, workers):
    loader = open_loader(corpus, weights=MIX)
    found = list(islice(DataLoader(loader, batch_size=None, num_workers=workers), 40))
    loader.close()
    assert stream_hash(found) == stream_hash(calm)


@forked
def test_worker_processes_go_on_from_a_saved_state_too(corpus, calm):
    loader = open_loader(corpus, weights=MIX)
    loader.load_state_dict(json_again(open_loader(corpus, weights=MIX).state_dict(calm[12])))
    found = list(islice(DataLoader(loader, batch_size=None, num_workers=2), 20))
    assert stream_hash(found) == stream_hash(calm[13:33])
    # what was trained on last is told by the batch: workers are ahead of the trainer
    state = loader.state_dict(found[-1])
    other = open_loader(corpus, weights=MIX)
    other.load_state_dict(json_again(state))
    assert stream_hash(take(other, 7)) == stream_hash(calm[33:])


@settings(max_examples=25)
@given(
    st.dictionaries(
        st.sampled_from("abcd"), st.lists(st.integers(1, 12), min_size=1, max_size=6), min_size=1, max_size=4
    ),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 14),
)
def test_any_corpus_and_any_cut_give_one_stream(blocks, batch, window, threads, cut):
    corpus = numbered(blocks)
    settings_ = {"global_batch": batch, "window": window}
    whole = take(open_loader(corpus, threads=0, **settings_), 20)
    first = open_loader(corpus, threads=threads, **settings_)
    start = take(first, cut)
    second = open_loader(corpus, threads=1, prefetch=2, **settings_)
    second.load_state_dict(json_again(first.state_dict()))
    assert stream_hash(start + take(second, 20 - cut)) == stream_hash(whole)


def test_seeds_and_windows_give_other_orders_of_the_same_rows(blocks):
    streams = {
        (seed, window): rows_of(take(open_loader(blocks, seed=seed, window=window, global_batch=5), 50))
        for seed in (1, 2)
        for window in (1, 3)
    }
    assert len({tuple(rows) for rows in streams.values()}) == 4
    domains = {tuple(row[0] for row in rows) for rows in streams.values()}
    assert len(domains) == 1  # the mixture is the same


def test_known_stream(blocks):
    """A change here breaks every saved state: it needs another version of the state."""
    found = rows_of(take(open_loader(blocks, weights=WEIGHTS, global_batch=6), 2))
    assert found == [
        *((0, 3, 5), (1, 0, 4), (0, 0, 5), (2, 0, 6), (0, 0, 1), (1, 0, 0)),
        *((0, 0, 0), (2, 0, 1), (0, 0, 3), (1, 0, 3), (0, 0, 2), (1, 2, 0)),
    ]


# 2 and 9: ranks


@pytest.mark.parametrize("world", [2, 4, 8])
def test_ranks_share_the_batches_that_one_would_get(corpus, calm, world):
    parts = [take(open_loader(corpus, weights=MIX, rank=rank, world=world), 40) for rank in range(world)]
    joined = [
        {
            key: torch.cat([part[step][key] for part in parts])
            for key in ("domain", "input_ids", "labels", "document_ids")
        }
        | {key: parts[0][step][key] for key in ("step", "mix_version")}
        for step in range(40)
    ]
    assert all(len(batch["input_ids"]) == 8 // world for part in parts for batch in part)
    assert stream_hash(joined) == stream_hash(calm)


def test_a_state_goes_on_with_another_number_of_ranks(corpus, calm):
    loader = open_loader(corpus, weights=MIX, rank=1, world=2)
    take(loader, 17)
    state = json_again(loader.state_dict())
    parts = []
    for rank in range(4):
        part = open_loader(corpus, weights=MIX, rank=rank, world=4)
        part.load_state_dict(state)
        parts.append(take(part, 5))
    for step in range(5):
        joined = torch.cat([part[step]["input_ids"] for part in parts])
        assert torch.equal(joined, calm[17 + step]["input_ids"])


@pytest.mark.parametrize("exhausted", ["stop", "error", "renormalise"])
def test_all_ranks_see_the_same_number_of_steps_however_it_ends(blocks, exhausted):
    def steps(rank, world):
        loader = open_loader(blocks, weights=WEIGHTS, exhausted=exhausted, rank=rank, world=world)
        found = 0
        try:
            for _ in loader:
                found += 1
        except TrainingError as error:
            assert "ran out of rows" in str(error)
        return found

    assert len({steps(rank, world) for world in (1, 2, 4) for rank in range(world)}) == 1


@pytest.mark.parametrize(("rank", "world"), [(0, 3), (2, 2), (-1, 2)])
def test_ranks_that_cannot_share_a_batch_are_refused(blocks, rank, world):
    with pytest.raises(TrainingError, match="cannot be shared") as caught:
        open_loader(blocks, rank=rank, world=world)
    assert "multiple" in caught.value.fix


# 3: kill and resume

CHILD = """
import json, os, sys
from pathlib import Path
from tests.training.data.made import open_loader, stream_hash
from training.data.source import open_tokens

corpus, state, weights, threads, prefetch = json.loads(sys.argv[1])
loader = open_loader(open_tokens(corpus), weights=weights, threads=threads, prefetch=prefetch)
state = Path(state)
if state.exists():
    loader.load_state_dict(json.loads(state.read_text()))
for batch in loader:
    print(int(batch["step"]), stream_hash([batch]), flush=True)  # this batch is trained on
    new = state.with_suffix(".new")
    new.write_text(json.dumps(loader.state_dict()))
    os.replace(new, state)
"""


def test_killed_at_any_moment_the_stream_goes_on_without_repeat_or_skip(made, corpus, tmp_path):
    weights = MIX
    reference = take(open_loader(corpus, weights=weights), 700)
    wanted = [(int(batch["step"]), stream_hash([batch])) for batch in reference]
    state = tmp_path / "state.json"
    begin = 0
    for threads, prefetch, least in ((2, 4, 23), (0, 9, 41)):
        arguments = json.dumps([str(made.out), str(state), weights, threads, prefetch])
        child = subprocess.Popen([sys.executable, "-c", CHILD, arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        lines = [child.stdout.readline() for _ in range(least)]
        child.kill()  # in the middle of whatever it does by now
        lines += child.stdout.readlines()
        child.stdout.close()
        assert child.wait() == -signal.SIGKILL
        trained = [(int(step), digest) for step, digest in map(str.split, lines)][:600]
        assert trained == wanted[begin : begin + len(trained)]
        begin = json.loads(state.read_text())["planner"]["step"]
        # the state is of the last batch that was trained on, or of the one before: then that one was lost with it
        assert begin in (trained[-1][0], trained[-1][0] + 1)
    loader = open_loader(corpus, weights=weights, threads=1)
    loader.load_state_dict(json.loads(state.read_text()))
    assert loader.step == begin
    assert stream_hash(take(loader, 30)) == stream_hash(reference[begin : begin + 30])


def test_the_state_belongs_to_the_batch_that_was_given_not_to_those_read_ahead(blocks):
    loader = open_loader(blocks, prefetch=20)
    batches, states = [], [loader.state_dict()]
    for batch in islice(loader, 30):
        batches.append(batch)
        states.append(loader.state_dict())
        assert loader.state_dict(batch) == loader.state_dict()
        assert loader.step == int(batch["step"]) + 1
    loader.close()
    for cut in (0, 1, 7, 29):
        other = open_loader(blocks, threads=0)
        other.load_state_dict(json_again(states[cut]))
        assert rows_of(take(other, 30 - cut)) == rows_of(batches[cut:])
        assert loader.state_dict(batches[cut])["planner"] == states[cut + 1]["planner"]


def test_iterating_again_goes_on_and_a_state_loaded_meanwhile_counts(blocks):
    whole = rows_of(take(open_loader(blocks), 12))
    loader = open_loader(blocks)
    found = take(loader, 5)
    found += take(loader, 3)
    state = loader.state_dict()
    assert rows_of(found + take(loader, 4)) == whole
    loader.load_state_dict(state)
    assert rows_of(take(loader, 4)) == whole[8 * 8 :]


# 4: counts per domain


def test_the_mixture_is_exact_after_every_row_of_a_real_stream(calm):
    domains = torch.cat([batch["domain"] for batch in calm]).numpy()
    taken = np.cumsum(np.eye(3)[domains], axis=0)
    owed = np.arange(1, len(domains) + 1)[:, None] * np.array([MIX[name] for name in ("few", "long", "many")])
    assert np.abs(taken - owed).max() < 1 + 1e-6


def test_without_weights_domains_come_by_their_tokens(corpus):
    loader = open_loader(corpus)
    assert loader.weights == pytest.approx(corpus.proportions())
    assert loader.journal[0].reason == "start"


def test_every_row_comes_once_per_epoch_and_epochs_differ():
    blocks = numbered({"a": (13, 2, 9), "b": (12,)})
    whole = [(0, block, row) for block, rows in enumerate((13, 2, 9)) for row in range(rows)]
    whole += [(1, 0, row) for row in range(12)]
    loader = open_loader(blocks, weights={"a": 2 / 3, "b": 1 / 3}, global_batch=6)
    epochs = [rows_of(take(loader, 6)) for _ in range(4)]
    assert [sorted(rows) for rows in epochs] == [sorted(whole)] * 4
    assert len({tuple(rows) for rows in epochs}) == 4


def test_every_row_of_a_real_corpus_comes_once(corpus):
    domain = corpus.domains["many"]
    loader = open_loader(corpus, weights={"many": 1.0}, exhausted="stop", global_batch=1, window=3)
    stream = [batch["input_ids"][0].tolist() for batch in loader]
    inside = [row.tolist() for block in domain.blocks for row in domain.read(block).tokens[:, :-1]]
    assert sorted(stream) == sorted(inside)
    assert stream != inside


# 5: changes of weights


def per_domain(batches):
    return [np.bincount(batch["domain"].numpy(), minlength=3).tolist() for batch in batches]


def test_weights_change_at_the_step_that_was_named(blocks):
    loader = open_loader(blocks, weights={"a": 0.5, "b": 0.5}, prefetch=3)
    found = list(islice(iter(loader), 4))  # steps 0-3 are given, 4-7 planned
    change = loader.set_weights({"c": 1.0}, step=9, reason="try", facts={"loss": {"a": 2.0}})
    assert (change.step, change.reason, change.facts) == (9, "try", {"loss": {"a": 2.0}})
    assert loader.weights == {"a": 0.5, "b": 0.5, "c": 0.0}
    found += take(loader, 10)
    assert per_domain(found) == [[4, 4, 0]] * 9 + [[0, 0, 8]] * 5
    assert [int(batch["mix_version"]) for batch in found] == [0] * 9 + [1] * 5
    assert loader.journal[1] == change
    assert loader.weights == {"a": 0.0, "b": 0.0, "c": 1.0}


def test_without_a_step_weights_change_after_what_is_planned(blocks):
    loader = open_loader(blocks, weights={"a": 1.0}, prefetch=3)
    batches = iter(loader)
    found = [next(batches) for _ in range(4)]
    change = loader.set_weights({"b": 1.0})
    assert change.step == 3 + 3 + 1
    found += [next(batches) for _ in range(6)]
    loader.close()
    assert per_domain(found) == [[8, 0, 0]] * change.step + [[0, 8, 0]] * (10 - change.step)


def test_weights_for_a_planned_step_are_refused(blocks):
    loader = open_loader(blocks, prefetch=3)
    batches = iter(loader)
    next(batches)
    with pytest.raises(TrainingError, match=r"weights for step 3 come too late: steps up to 3 are planned") as caught:
        loader.set_weights({"a": 1.0}, step=3)
    assert "lower the loader's prefetch" in caught.value.fix
    assert loader.set_weights({"a": 1.0}, step=4).step == 4
    loader.close()
    assert len(loader.journal) == 2


def test_changes_are_replayed_on_resume_whether_they_came_into_force_or_not(blocks):
    loader = open_loader(blocks, weights=WEIGHTS, prefetch=2)
    batches, found, states = iter(loader), [], []
    for step in range(20):
        found.append(next(batches))
        if step == 4:
            loader.set_weights({"a": 0.1, "b": 0.2, "c": 0.7}, reason="first")
        if step == 6:
            loader.set_weights({"b": 1.0}, step=14, reason="second")
        states.append(json_again(loader.state_dict()))
    loader.close()
    for cut in (6, 7, 12, 13, 14, 17):
        other = open_loader(blocks, weights=WEIGHTS, prefetch=7)
        other.load_state_dict(states[cut])
        assert [entry.reason for entry in other.journal] == ["start", "first", "second"]
        assert stream_hash(take(other, 19 - cut)) == stream_hash(found[cut + 1 :])


def test_a_state_from_before_a_change_does_not_know_it(blocks):
    loader = open_loader(blocks, weights=WEIGHTS)
    take(loader, 3)
    state = loader.state_dict()
    loader.set_weights({"c": 1.0})
    assert len(state["planner"]["journal"]) == 1


@forked
def test_weights_cannot_change_behind_the_back_of_worker_processes(blocks):
    loader = open_loader(blocks, weights=WEIGHTS)
    workers = iter(DataLoader(loader, batch_size=None, num_workers=1))
    next(workers)
    with pytest.raises(TrainingError, match="worker processes") as caught:
        loader.set_weights({"a": 1.0})
    assert "num_workers=0" in caught.value.fix
    del workers
    # iterated by itself again, the loader may change
    take(loader, 1)
    assert loader.set_weights({"a": 1.0}).weights["a"] == 1.0


def test_weights_may_change_with_a_dataloader_without_workers(blocks):
    loader = open_loader(blocks, weights={"a": 1.0}, prefetch=1)
    batches = iter(DataLoader(loader, batch_size=None))
    first = next(batches)
    step = loader.set_weights({"b": 1.0}).step
    found = [first, *islice(batches, step)]
    loader.close()
    assert per_domain(found) == [[8, 0, 0]] * step + [[0, 8, 0]]


RANK = """
import json, sys
from itertools import islice
import torch.distributed as dist
from corpus.errors import TrainingError
from tests.training.data.made import numbered, open_loader, rows_of

meet, rank, blocks = json.loads(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
loader = open_loader(numbered(blocks), weights={"a": 0.5, "b": 0.5}, rank=rank, world=2, prefetch=2)
batches = iter(loader)
found = list(islice(batches, 3 + rank))  # rank 1 is one step ahead
mine = ({"c": 1.0}, {"a": 1.0})[rank]
soon = loader.set_weights(mine, reason=f"rank {rank}")
later = loader.set_weights({"b": 1.0}, step=(12, 99)[rank])
late = []
for step in (1, 5):  # rank 0 alone would not have planned step 5
    try:
        loader.set_weights({"b": 1.0}, step=step)
    except TrainingError as error:
        late.append(error.what)
found += list(islice(batches, 16 - len(found)))
loader.close()
journal = [change.model_dump() for change in loader.journal]
print(json.dumps({"rows": [rows_of([batch]) for batch in found], "journal": journal, "late": late}))
dist.destroy_process_group()
"""


def test_all_ranks_take_the_weights_of_rank_0_at_the_same_step(tmp_path):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, json.dumps([str(tmp_path / "meet"), rank, BLOCKS])],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    first, second = (json.loads(child.communicate()[0].splitlines()[-1]) for child in children)
    assert first["journal"] == second["journal"]
    assert [(entry["step"], entry["reason"]) for entry in first["journal"]] == [(0, "start"), (6, "rank 0"), (12, "")]
    assert first["late"] == second["late"]
    assert first["late"] == [f"weights for step {step} come too late: steps up to 5 are planned" for step in (1, 5)]
    alone = open_loader(numbered(BLOCKS), weights={"a": 0.5, "b": 0.5})
    alone.set_weights({"c": 1.0}, step=6)
    alone.set_weights({"b": 1.0}, step=12)
    joined = [[tuple(row) for row in a + b] for a, b in zip(first["rows"], second["rows"], strict=True)]
    assert joined == [rows_of([batch]) for batch in take(alone, 16)]


# 6: zero weights and domains that run out


def test_a_domain_of_weight_zero_gives_nothing_and_needs_no_rows():
    corpus = numbered({"a": (20,), "b": (), "c": (7,)})
    loader = open_loader(corpus, weights={"a": 0.5, "b": 0.0, "c": 0.5})
    assert {row[0] for row in rows_of(take(loader, 10))} == {0, 2}
    with pytest.raises(TrainingError, match="no rows in: b"):
        open_loader(corpus, weights={"a": 0.5, "b": 0.5})
    with pytest.raises(TrainingError, match="no rows in: b"):
        loader.set_weights({"b": 1.0})


def test_a_corpus_without_any_rows_is_refused():
    with pytest.raises(TrainingError, match="no rows"):
        open_loader(numbered({"a": (), "b": ()}))


def test_stop_ends_and_keeps_a_state_that_ends_too(blocks):
    loader = open_loader(blocks, weights=WEIGHTS, exhausted="stop", prefetch=6)
    found = list(loader)
    assert len(found) == min(int(ROWS[name] / WEIGHTS[name] / 8) for name in ROWS)
    assert list(loader) == []
    other = open_loader(blocks, weights=WEIGHTS, exhausted="stop")
    other.load_state_dict(json_again(loader.state_dict()))
    assert list(other) == []
    assert len(set(rows_of(found))) == 8 * len(found)


def test_error_names_the_domain_after_the_batches_that_could_be_made(blocks):
    loader = open_loader(blocks, weights=WEIGHTS, exhausted="error", prefetch=1, global_batch=4)
    steps = min(int(ROWS[name] / WEIGHTS[name] / 4) for name in ROWS)
    found = []
    with pytest.raises(TrainingError, match="ran out of rows at step"):
        found += iter(loader)
    assert loader.step >= steps - 2
    loader.close()


def test_renormalise_gives_no_row_twice_and_resumes_across_the_end_of_a_domain():
    blocks = numbered({"a": (9, 4, 17), "b": (5, 3), "c": (60, 50)})
    settings_ = {"weights": WEIGHTS, "exhausted": "renormalise", "global_batch": 6, "prefetch": 3}
    loader = open_loader(blocks, **settings_)
    found, states = [], []
    for batch in islice(iter(loader), 20):
        found.append(batch)
        states.append(json_again(loader.state_dict()))
    loader.close()
    rows = rows_of(found)
    assert len(set(rows)) == len(rows)
    ran_out = [(change.facts["domain"], change.step) for change in loader.journal[1:]]
    assert [name for name, _ in ran_out] == ["b", "a"]
    for _, step in ran_out:
        for cut in range(step - 4, step + 2):
            other = open_loader(blocks, **settings_)
            other.load_state_dict(states[cut])
            # what was only planned when the state was saved has not happened
            assert all(change.step <= cut for change in other.journal)
            assert stream_hash(take(other, 19 - cut)) == stream_hash(found[cut + 1 :])


# 7: the state


def test_the_state_is_small_plain_json_of_numbers_and_names():
    blocks = {f"a domain with a long name {number:02d}": (50, 20) for number in range(20)}
    loader = open_loader(numbered(blocks, digest="c" * 64), global_batch=64)
    take(loader, 50)
    state = loader.state_dict()
    assert json_again(state) == state
    without = {**state, "planner": {**state["planner"], "journal": []}}
    assert len(json.dumps(without)) < 3000
    assert len(json.dumps(state)) < 10_000
    for step in range(60, 160):
        loader.set_weights(dict.fromkeys(blocks, 0.05), step=step)
    assert len(json.dumps(loader.state_dict())) < 10_000 + 100 * 1200


def test_the_state_names_what_it_belongs_to(corpus):
    state = open_loader(corpus).state_dict()
    assert state["corpus"] == corpus.digest
    assert state["tokenizer"] == corpus.tokenizer_digest
    assert state["sequence_length"] == 16
    assert state["packing"] == "concat@1"
    assert state["domains"] == ["few", "long", "many"]
    assert state["loader"] == {"global_batch": 8, "seed": 1, "window": 2, "exhausted": "repeat"}


@pytest.mark.parametrize(
    ("changes", "settings_", "told"),
    [
        ({"digest": "other"}, {}, ["corpus: state has c, here other"]),
        ({"tokenizer_digest": "other"}, {}, ["tokenizer: state has t, here other"]),
        ({"sequence_length": 9}, {}, ["sequence_length: state has 5, here 9"]),
        ({"packing": "best_fit"}, {}, ["packing: state has concat@1, here best_fit@1"]),
        ({}, {"seed": 2}, ["'seed': 1", "'seed': 2"]),
        ({}, {"global_batch": 16}, ["'global_batch': 8", "'global_batch': 16"]),
        ({}, {"window": 3}, ["'window': 2", "'window': 3"]),
        ({}, {"exhausted": "stop"}, ["'exhausted': 'repeat'", "'exhausted': 'stop'"]),
        (
            {"digest": "d", "tokenizer_digest": "u"},
            {"seed": 9},
            ["state has c, here d", "state has t, here u", "'seed': 9"],
        ),
    ],
)
def test_a_state_of_something_else_is_refused_with_both_values(blocks, changes, settings_, told):
    from dataclasses import replace

    state = json_again(open_loader(blocks).state_dict())
    other = open_loader(replace(blocks, **changes), **settings_)
    before = other.state_dict()
    with pytest.raises(TrainingError, match="does not belong to this loader") as caught:
        other.load_state_dict(state)
    for words in told:
        assert words in caught.value.what
    assert "open the corpus" in caught.value.fix
    assert other.state_dict() == before


def test_what_may_differ_on_resume(blocks):
    """Threads, prefetch and weights: the journal brings the weights."""
    first = open_loader(blocks, weights=WEIGHTS)
    take(first, 3)
    other = open_loader(blocks, weights={"b": 1.0}, threads=0, prefetch=30)
    other.load_state_dict(first.state_dict())
    assert rows_of(take(other, 5)) == rows_of(take(first, 5))


@pytest.mark.parametrize("key", ["planner", "corpus", "loader", "format", "stride"])
def test_a_state_with_a_part_missing_is_refused(blocks, key):
    loader = open_loader(blocks)
    state = loader.state_dict()
    del state[key]
    with pytest.raises(TrainingError, match=f"lacks '{key}'"):
        loader.load_state_dict(state)


@pytest.mark.parametrize("planner", [None, {}, {"step": "x"}, {"step": 1, "taken": [1, 1, 1], "carry": [0, 0, 0]}])
def test_a_damaged_state_is_refused(blocks, planner):
    loader = open_loader(blocks)
    with pytest.raises(TrainingError, match="damaged"):
        loader.load_state_dict({**loader.state_dict(), "planner": planner})


def test_no_state_of_another_format(blocks):
    loader = open_loader(blocks)
    with pytest.raises(TrainingError, match="format: state has 99, here 1"):
        loader.load_state_dict({**loader.state_dict(), "format": 99})


# 8: no residue


def shared_names(process):
    """Shared memory that a process has mapped and that still has a name."""
    lines = Path(f"/proc/{process}/maps").read_text().splitlines()
    return [line for line in lines if "/dev/shm/" in line and not line.endswith("(deleted)")]


@forked
def test_nothing_is_left_in_shared_memory(corpus):
    before = set(Path("/dev/shm").iterdir())
    loader = open_loader(corpus, weights=MIX)
    take(loader, 3)
    batches = iter(DataLoader(loader, batch_size=None, num_workers=2))
    held = list(islice(batches, 6))
    processes = [os.getpid(), *(worker.pid for worker in batches._workers)]
    assert [name for process in processes for name in shared_names(process)] == []
    del batches, held
    left = {path.name for path in set(Path("/dev/shm").iterdir()) - before}
    assert [name for name in left if any(str(process) in name for process in processes)] == []


def test_threads_end_with_the_loader(blocks):
    before = set(threading.enumerate())
    loaders = [open_loader(blocks, threads=3) for _ in range(4)]
    for loader in loaders:
        next(iter(loader))
    started = [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("loader")]
    assert len(started) >= len(loaders)
    for loader in loaders:
        loader.close()
    assert not any(thread.is_alive() for thread in started)


# 10: shards that cannot be read


class Broken:
    """Cannot read the block of one row: a single step needs it."""

    def __init__(self, reader):
        self.reader = reader

    def read(self, block):
        if block.rows == 1:
            raise OSError("torn")
        return self.reader.read(block)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_block_that_cannot_be_read_stops_the_stream_before_its_step_and_no_step_is_skipped(blocks, threads):
    from dataclasses import replace

    whole = take(open_loader(blocks, weights=WEIGHTS), 30)
    domains = dict(blocks.domains)
    domains["a"] = replace(domains["a"], reader=Broken(domains["a"].reader))
    loader = open_loader(replace(blocks, domains=domains), weights=WEIGHTS, threads=threads, prefetch=1)
    batches, found = iter(loader), []
    with pytest.raises(OSError, match="torn"):
        found += iter(batches.__next__, None)
    given = loader.step
    for _ in range(3):  # asked again, it fails again: no later step is handed out instead
        with pytest.raises(OSError, match="torn"):
            next(batches)
    assert loader.step == given
    loader.close()
    # with the shard mended, the state goes on where it stopped
    mended = open_loader(blocks, weights=WEIGHTS)
    mended.load_state_dict(json_again(loader.state_dict()))
    assert rows_of(take(mended, 30 - given)) == rows_of(whole[given:])


# adapters


@forked
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cut", [1, 7, 14])
def test_torchdata_s_loader_goes_on_exactly(corpus, calm, workers, cut):
    def opened():
        return StatefulDataLoader(open_loader(corpus, weights=MIX), batch_size=None, num_workers=workers)

    first = opened()
    batches = iter(first)
    start = list(islice(batches, cut))
    state = first.state_dict()
    del batches
    second = opened()
    second.load_state_dict(pickle.loads(pickle.dumps(state)))
    rest = list(islice(iter(second), 10))
    first.dataset.close()
    second.dataset.close()
    assert stream_hash(start + rest) == stream_hash(calm[: cut + 10])


def test_a_loader_can_be_copied_to_another_process_and_goes_on_there(blocks):
    loader = open_loader(blocks)
    take(loader, 4)
    next(iter(loader))
    copy = pickle.loads(pickle.dumps(loader))
    loader.close()
    assert rows_of(take(copy, 3)) == rows_of(take(open_loader(blocks), 8)[5:])


# what a batch holds


def test_labels_are_the_next_tokens_and_padding_has_none(corpus):
    loader = open_loader(corpus, weights={"few": 1.0}, global_batch=39, window=2)
    (batch,) = take(loader, 1)
    order = loader._orders[0].locate(np.arange(39))
    padded = 0
    for number in range(39):
        domain = corpus.domains["few"]
        rows = domain.read(domain.blocks[order.block[number]])
        at = order.row[number]
        tokens, real = rows.tokens[at].astype(np.int64), int(rows.length[at])
        assert batch["input_ids"][number].tolist() == tokens[:-1].tolist()
        labels = batch["labels"][number].tolist()
        assert labels[: real - 1] == tokens[1:real].tolist()
        assert labels[real - 1 :] == [IGNORE] * (16 - real + 1)
        starts = rows.starts[rows.offsets[at] : rows.offsets[at + 1]]
        documents = np.searchsorted(starts, np.arange(16), side="right") - 1
        documents[real:] = len(starts)
        assert batch["document_ids"][number].tolist() == documents.tolist()
        padded += real < 17
    assert padded == 2  # the last row of each block


def test_types_and_shapes(corpus):
    (batch,) = take(open_loader(corpus, weights=MIX), 1)
    for key in ("input_ids", "labels", "document_ids"):
        assert batch[key].shape == (8, 16)
    assert batch["input_ids"].dtype == batch["labels"].dtype == batch["domain"].dtype == torch.int64
    assert batch["document_ids"].dtype == torch.int32
    assert batch["input_ids"].max() < corpus.vocab
    assert batch["step"].shape == batch["mix_version"].shape == ()


def test_batches_do_not_share_memory(corpus):
    first, second = take(open_loader(corpus, weights=MIX), 2)
    before = second["input_ids"].clone()
    first["input_ids"].fill_(-7)
    assert torch.equal(second["input_ids"], before)


@pytest.mark.parametrize("bad", [{"global_batch": 0}, {"prefetch": 0}, {"threads": -1}, {"window": 0}, {"seeds": 3}])
def test_settings_that_make_no_sense_are_refused(blocks, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        open_loader(blocks, **bad)


def test_weights_of_unknown_domains_are_refused(blocks):
    with pytest.raises(TrainingError, match="unknown domain 'z'"):
        open_loader(blocks, weights={"z": 1.0})
