"""Harvests end to end, through the command line: from a small corpus to a pile, and everything that can go wrong."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from tests.llm.fake_endpoint import failed, fake_endpoint, said

TOPICS = {
    "medicine": "heart blood artery vein muscle oxygen surgeon patient valve pressure pulse lung vessel rhythm clot",
    "law": "court judge contract witness claim statute verdict appeal evidence plaintiff tenant lease damages",
    "garden": "soil seed tomato compost spade hedge blossom pruning frost greenhouse watering weed orchard bulb lawn",
    "cooking": "oven butter flour onion simmer recipe pepper dough garlic saucepan roast spice cream stock baking",
}
SEEDS = {
    "medicine": ["How does the heart pump blood through artery and vein?", "What does a surgeon do about a clot?"],
    "law": ["When does a court hold a contract to be binding?", "What may a witness say about the evidence?"],
}


def sentence(rng, words):
    a, b, c, d = rng.sample(words, 4)
    shape = rng.choice(
        [
            "The {a} and the {b} need a {c}.",
            "A {a} with {b} changes the {c} of the {d}.",
            "Every {a} has its {b}, {c} or {d}.",
        ]
    )
    return shape.format(a=a, b=b, c=c, d=d)


def documents():
    """120 documents of four topics, each with its topic as id prefix; some long, some copies, one without text."""
    rng = random.Random(4)
    rows = []
    for number in range(120):
        topic = list(TOPICS)[number % 4]
        length = 60 if number % 10 == 0 else rng.randint(4, 12)
        text = " ".join(sentence(rng, TOPICS[topic].split()) for _ in range(length))
        rows.append(
            {
                "id": f"{topic}-{number}",
                "url": f"https://{topic}.example.org/{number}",
                "text": text,
                "date": f"20{10 + number % 5}-03-01",
            }
        )
    rows += [{**rows[number], "id": f"copy-{number}"} for number in (0, 1, 4, 5)]
    return [*rows, {"id": "none", "url": None, "text": None, "date": None}]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The documents in three Parquet files, the seeds as JSON lines."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = documents()
    for number in range(3):
        pq.write_table(pa.Table.from_pylist(rows[number::3]), folder / f"part-{number}.parquet", row_group_size=20)
    lines = [{"id": f"{d}{i}", "domain": d, "question": q} for d, qs in SEEDS.items() for i, q in enumerate(qs)]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def harvest(corpus, tmp_path, cli):
    """Writes a manifest and runs it: ``harvest(name="pile", **changes of the harvest block) -> Done``."""

    def run(*arguments, name="pile", command="run", stages=(), crash=None, **changes):
        block = {
            "seeds": [{"path": str(corpus / "seeds.jsonl"), "domain_field": "domain"}],
            "search": {"per_query": 6, "depth": 40},
            "index": {"passages": {"words": 60, "overlap": 10}},
        }
        manifest = {
            "name": name,
            "source": {"paths": [str(corpus / "*.parquet")]},
            "output": {"path": str(tmp_path / name)},
            "executor": {"kind": "local", "workers": 2},
            "harvest": block | changes,
            "stages": [{"kind": "dedup"}, *stages],
        }
        path = tmp_path / f"{name}.yaml"
        YAML().dump(manifest, path)
        environment = {"CORPUS_CRASH_AT": crash} if crash else {}
        return cli(command, str(path), "--json", *arguments, **environment)

    return run


def published(folder: Path, kind: str) -> list[dict]:
    tables = [pq.read_table(path) for path in sorted((folder / kind).glob("*.parquet"))]
    return pa.concat_tables(tables).to_pylist()


def test_a_pile_is_on_topic_labelled_and_accounts_for_every_document(harvest, tmp_path, cli):
    done = harvest(stages=[{"kind": "score", "model": "fluency"}], control=50)
    assert done.code == 0, done.stderr
    ledger = done.result["ledger"]
    assert ledger["read"] == 125
    assert ledger["read"] == ledger["kept"] + sum(ledger["rejected"].values()) + ledger["duplicates"] + sum(
        ledger["quarantined"].values()
    )
    assert ledger["quarantined"] == {"no_text": 1}
    assert set(ledger["rejected"]) <= {"harvest/not_retrieved@1", "harvest/over_cap@1"}
    folder = tmp_path / "pile"
    rows = published(folder, "documents")
    assert len(rows) == ledger["kept"] > 15
    own = [row for row in rows if row["id"].startswith(row["domain"])]
    assert len(own) >= 0.9 * len(rows)
    queries = {query["id"]: query for query in published(folder, "queries")}
    for row in rows:
        assert row["signals"]["harvest_queries"] >= len(row["queries"]) >= 1
        assert row["signals"]["harvest_score"] == pytest.approx(max(hit["score"] for hit in row["queries"]))
        assert {queries[hit["id"]]["domain"] for hit in row["queries"]}
        assert 0 < row["signals"]["harvest_lexical"] <= 1
    for query in queries.values():
        if query["kind"] == "seed":
            assert (query["round"], query["parent"], query["origin"][:11]) == (0, None, "seeds.jsonl")
        else:
            assert (query["kind"], query["origin"]) == ("keyphrase", "keyphrases@1")
            assert queries[query["parent"]]["round"] == query["round"] - 1
            assert queries[query["seed"]]["kind"] == "seed"
            assert query["domain"] == queries[query["parent"]]["domain"]
    rounds = published(folder, "rounds")
    assert [row["round"] for row in rounds] == list(range(len(rounds)))
    assert sum(row["queries"] for row in rounds) == len(queries)
    for row in rounds:
        assert row["drafts"] == row["queries"] + sum(count for _, count in row["removed"])
    rejected = published(folder, "rejected")
    turned_down = [row for row in rejected if row["reason"].startswith("harvest/")]
    assert all(row["content"] is None and row["id"] for row in turned_down)
    assert 25 < len(published(folder, "control")) < 90
    assert cli("verify", str(folder), "--json").result["sound"]
    page = (folder / "report.html").read_text()
    assert "Queries that brought most that was new" in page
    assert "2013" in page
    card = (folder / "README.md").read_text()
    assert "harvest_lexical" in card


def test_explain_names_the_queries_and_search_finds_the_passages(harvest, tmp_path, cli):
    assert harvest().code == 0
    row = published(tmp_path / "pile", "documents")[0]
    (found,) = cli("explain", str(tmp_path / "pile"), row["id"], "--json").result["documents"]
    assert found["domain"] == row["domain"]
    assert [query["id"] for query in found["queries"]] == [hit["id"] for hit in row["queries"]]
    assert all(query["text"] and query["kind"] for query in found["queries"])
    index = str(tmp_path / "pile" / "index")
    hits = cli("search", index, "court witness evidence", "-k", "3", "--json").result["hits"]
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert all({"court", "witness", "evidence"} & set(hit["text"].split()) for hit in hits)
    assert cli("search", index, "zzz", "--json").code == 3
    assert "no search index" in cli("search", str(tmp_path), "court").stderr


def test_any_workers_and_any_kill_give_the_same_bytes(harvest, tmp_path):
    whole = harvest("--set", "executor.workers=1")
    assert whole.code == 0
    for nth in (2, 9, 17):
        name = f"killed{nth}"
        done = harvest("--set", "name=pile", name=name, crash=f"driver.task_done:{nth}")
        assert done.code == -signal.SIGKILL
        again = harvest("--set", "name=pile", name=name)
        assert again.code == 0, again.stderr
        assert again.result["digest"] == whole.result["digest"]


def test_an_index_is_shared_and_one_of_another_corpus_is_refused(harvest, tmp_path, corpus):
    shared = str(tmp_path / "index")
    index = {"path": shared, "passages": {"words": 60, "overlap": 10}}
    assert harvest(index=index, name="one").code == 0
    card = (tmp_path / "index" / "card.json").read_bytes()
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "index").rglob("*.npy")}
    seeds = [{"texts": ["tomato compost and the greenhouse", "pruning an orchard"], "domain": "garden"}]
    assert harvest(index=index, name="two", seeds=seeds).code == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "index").rglob("*.npy")} == made
    assert (tmp_path / "index" / "card.json").read_bytes() == card
    assert {row["domain"] for row in published(tmp_path / "two", "documents")} == {"garden"}
    other = harvest("--set", f"source.paths=['{corpus}/part-0.parquet']", index=index, name="three")
    assert other.code == 1
    assert "covers another corpus" in other.stderr
    damaged = next(path for path in (tmp_path / "index").rglob("scores.npy"))
    data = bytearray(damaged.read_bytes())
    data[-3] ^= 0xFF
    damaged.chmod(0o644)
    damaged.write_bytes(data)
    broken = harvest(index=index, name="four")
    assert broken.code == 1
    assert "is not the file that was written" in broken.stderr


def test_dense_and_lexical_rankings_are_fused(harvest, tmp_path):
    pytest.importorskip("onnxruntime")
    from tests.quality_models.tiny_bert import save_tiny_bert

    save_tiny_bert(tmp_path / "bert")
    dense = {"embedder": {"model": str(tmp_path / "bert"), "precision": "fp32", "tokens": 48}}
    done = harvest(index={"passages": {"words": 60, "overlap": 10}, "dense": dense}, queries={"rounds": 0})
    assert done.code == 0, done.stderr
    hits = [hit for row in published(tmp_path / "pile", "documents") for hit in row["queries"]]
    assert any(hit["dense_rank"] and hit["lexical_rank"] for hit in hits)
    for hit in hits:
        ranks = [hit[f"{name}_rank"] for name in ("lexical", "dense") if hit[f"{name}_rank"]]
        assert hit["score"] == pytest.approx(sum(1 / (60 + rank) for rank in ranks), rel=1e-4)


def answers(number, body):
    """Questions about law or medicine, or a thought, as a model would write them."""
    text = body["messages"][-1]["content"]
    words = TOPICS["law" if "Subject: law" in text else "medicine"].split()
    rng = random.Random(text + str(body["seed"]))
    if "step by step" in text:
        return said(" ".join(sentence(rng, words) for _ in range(3)))
    return said(
        "Here are some questions:\n"
        + "\n".join(f"{i}. What does the {rng.choice(words)} do to the {rng.choice(words)}?" for i in range(4))
    )


def writer(fake, **changes):
    endpoint = {
        "urls": [fake.url],
        "model": "tiny",
        "backoff_s": 0.01,
        "attempts": 3,
        "timeout_s": 10,
        "concurrency": 4,
    }
    return {"kind": "language_model", "endpoint": endpoint, "samples": 2, **changes}


def test_a_model_writes_questions_and_thoughts_and_a_resumed_run_asks_nothing_twice(harvest, tmp_path):
    with fake_endpoint(answers) as fake:
        whole = harvest(writer=writer(fake), name="whole")
        assert whole.code == 0, whole.stderr
        asked = [json.dumps(body, sort_keys=True) for body in fake.bodies]
        assert fake.most_at_once <= 4
        assert max(Counter(asked).values()) == 1
        fake.bodies.clear()
        killed = harvest("--set", "name=whole", writer=writer(fake), name="killed", crash="driver.task_done:14")
        assert killed.code == -signal.SIGKILL
        again = harvest("--set", "name=whole", writer=writer(fake), name="killed")
        assert again.code == 0, again.stderr
        assert sorted(json.dumps(body, sort_keys=True) for body in fake.bodies) == sorted(asked)
        assert again.result["digest"] == whole.result["digest"]
    queries = published(tmp_path / "whole", "queries")
    assert Counter(query["kind"] for query in queries)["thought"] > 3
    made = [query for query in queries if query["kind"] != "seed"]
    assert {query["model"] for query in made} == {"tiny"}
    assert all(query["origin"].endswith("fake-1") and json.loads(query["sampling"])["max_tokens"] for query in made)
    rounds = published(tmp_path / "whole", "rounds")
    assert dict(rounds[1]["removed"])["preamble"] > 0
    assert rounds[1]["requests"] == len([q for q in queries if q["round"] == 0]) * 2 + len(
        [q for q in queries if q["round"] == 1 and q["kind"] == "question"]
    )
    assert rounds[1]["completion_tokens"] == 3 * rounds[1]["requests"]


def test_a_key_reaches_the_endpoint_and_no_artefact(harvest, tmp_path, monkeypatch):
    monkeypatch.setenv("CANARY_KEY", "sk-canary-77aa")

    def script(number, body):
        return failed(404, "sk-canary") if number == 3 else answers(number, body)

    with fake_endpoint(script) as fake:
        block = writer(fake)
        block["endpoint"]["api_key_env"] = "CANARY_KEY"
        done = harvest(writer=block)
        assert done.code == 0, done.stderr
        sent = [headers for headers in fake.headers if "Authorization" in headers]
    assert {headers["Authorization"] for headers in sent} == {"Bearer sk-canary-77aa"}
    assert "canary-77aa" not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 30
    assert not [path for path in files if b"canary-77aa" in path.read_bytes()]
    monkeypatch.delenv("CANARY_KEY")
    refused = harvest(writer=block, name="without")
    assert refused.code == 1
    assert "CANARY_KEY is not set" in refused.stderr


def test_a_model_that_answers_noise_adds_nothing_and_says_so(harvest, tmp_path):
    with fake_endpoint(lambda *_: said("ru\ufffd pumps arteries {]")) as fake:
        assert harvest(writer=writer(fake)).code == 0
    rounds = published(tmp_path / "pile", "rounds")
    assert [row["queries"] for row in rounds] == [4, 0]
    assert rounds[1]["stopped"] == "no new query was written"
    assert (rounds[1]["requests"], rounds[1]["drafts"]) == (8, 8)
    assert dict(rounds[1]["removed"]) == {"garbled": 8}
    assert published(tmp_path / "pile", "documents")


def test_a_model_that_answers_nothing_is_an_error_and_costs_no_more_than_it_must(harvest):
    with fake_endpoint(lambda *_: said("")) as fake:
        done = harvest(writer=writer(fake))
        assert done.code == 1
        assert "8 of 8 requests to the language model got no usable answer: empty 8" in done.stderr
        assert len(fake.bodies) == 8 * 3
    with fake_endpoint(lambda number, body: answers(number, body) if number % 3 else failed(400, "no")) as fake:
        assert harvest(writer=writer(fake, max_refused_share=0.9), name="some").code == 0


def test_an_endpoint_that_is_not_there_is_an_error_before_any_work(harvest, tmp_path):
    with fake_endpoint(answers) as fake:
        gone = writer(fake)
    for command in ("validate", "run"):
        done = harvest(writer=gone, command=command)
        assert done.code == 1
        assert "cannot be reached" in done.stderr
    assert not (tmp_path / "pile" / "index").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [{"path": "absent.jsonl", "domain": "law"}]}, "no file of seeds"),
        ({"seeds": []}, "at least 1 item"),
        ({"seeds": {"texts": ["a b"], "domain": "law"}}, "valid tuple"),
        ({"seeds": [{"texts": ["a b"], "domian": "law"}]}, "did you mean 'domain'"),
        ({"seeds": [{"texts": ["?"], "domain": "law"}]}, "holds none"),
        ({"search": {"per_qeury": 3}}, "did you mean 'per_query'"),
        ({"writer": {"kind": "oracle"}}, "keyphrases"),
        ({"writer": {"kind": "language_model"}}, "either endpoint or serve"),
        ({"index": {"passages": {"words": 20, "overlap": 20}}}, "smaller than words"),
    ],
)
def test_manifests_that_make_no_sense_are_refused_with_a_place(harvest, changes, message):
    done = harvest(command="validate", **changes)
    assert done.code == 2
    assert message in done.stderr


def test_a_corpus_in_which_nothing_is_found_gives_an_empty_pile_that_says_why(harvest, tmp_path):
    done = harvest(seeds=[{"texts": ["quantum chromodynamics", "lattice gauge"], "domain": "physics"}])
    assert done.code == 1
    assert "found nothing" in done.stderr
