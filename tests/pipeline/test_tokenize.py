"""Text to token shards by real runs: no document lost, each on its side, the same bytes whatever happens on the way."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.commit import canonical_json, current_manifest, publish_corpus
from corpus.storage import LocalStore, open_store, publish_bytes
from pipeline.cli import main
from pipeline.verify import verify_corpus
from tests.pipeline.test_datasets import InThisProcess
from tests.training.data.made import texts, write_text
from training.data.source import open_tokens
from training.data.tokenizer import Tokenizer, read_tokenizer, train_bpe

LENGTH = 24
ODD = ["", None, "ends here<|endoftext|>or not", "tabs\tand\nlines\r\n", "emoji 👩‍👩‍👧", "zero\0byte", "  blanks  "]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORPUS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Two domains: ``books`` of three files with a column that splits, ``code`` of one without ids."""
    folder = tmp_path_factory.mktemp("text")
    for number, count in enumerate((120, 60, 30)):
        documents = [*texts(number, count, 25), *ODD]
        split = ["validation" if at % 10 == number else "train" for at in range(len(documents))]
        grade = [at % 3 for at in range(len(documents))]
        write_text(folder / "books" / f"b{number}.parquet", documents, split=split, grade=grade)
    plain = pa.table({"text": texts(50, 200, 12)})
    (folder / "code").mkdir()
    pq.write_table(plain, folder / "code" / "c.parquet", row_group_size=64)
    return folder


def tokenize(text, **changes):
    domains = {
        "books": {"paths": [str(text / "books" / "*.parquet")], "held_out_where": {"split": "validation"}},
        "code": {"paths": [str(text / "code" / "c.parquet")]},
    }
    trained = {"train": {"vocab": 350, "sample_bytes": "40KiB"}}
    return {"sequence_length": LENGTH, "held_out": 0.2, "tokenizer": trained, "domains": domains, **changes}


def manifest(path, out, config, workers=1):
    executor = {"kind": "local", "workers": workers}
    whole = {"name": "made", "output": {"path": str(out)}, "executor": executor, "tokenize": config}
    path.write_text(json.dumps(whole))
    return str(path)


@pytest.fixture
def run_here(tmp_path, capsys, monkeypatch):
    """``run_here(config, folder) -> result``: the command without processes, where nothing depends on them."""
    monkeypatch.setattr("pipeline.tokenize.make_executor", lambda config: InThisProcess())

    def call(config, folder="out"):
        with pytest.raises(SystemExit) as ended:
            main(["run", manifest(tmp_path / "m.yaml", tmp_path / folder, config), "--json"])
        assert ended.value.code == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


@pytest.fixture(scope="module")
def calm(cli, text, tmp_path_factory):
    """An undisturbed run with one worker."""
    folder = tmp_path_factory.mktemp("calm")
    done = cli("run", manifest(folder / "m.yaml", folder / "out", tokenize(text)), "--json")
    assert done.code == 0, done.stderr
    return folder / "out", done.result


def index_of(out):
    store = open_store(str(out))
    return json.loads(store.read(current_manifest(store).files["index"][0].name))


def tokenizer_of(out) -> Tokenizer:
    corpus = open_tokens(str(out))
    return read_tokenizer(corpus.tokenizer, None, where="here")


def documents_of(text):
    """Every document of each domain: id -> (text, split)."""
    books = {}
    for path in sorted((text / "books").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            books[row["id"]] = (row["content"] or "", row["split"])
    code = pq.read_table(text / "code" / "c.parquet")["text"].to_pylist()
    return {"books": books, "code": {f"c.parquet#{n // 64}.{n % 64}": (t, None) for n, t in enumerate(code)}}


def tokens_of(out, split, domain):
    """The tokens of each document, put together again from the rows that name it."""
    found = {}
    for shard, _ in index_of(out)["splits"][split][domain]["shards"]:
        for row in pq.read_table(out / shard).to_pylist():
            ends = [*row["starts"][1:], row["length"]]
            for name, start, end in zip(row["documents"], row["starts"], ends, strict=True):
                found.setdefault(name, []).extend(row["tokens"][start:end])
    return found


def test_the_ledger_closes_over_every_document(calm, text):
    ledger = calm[1]["ledger"]
    everything = [content for domain in documents_of(text).values() for content, _ in domain.values()]
    empty = everything.count("")
    assert empty >= 6
    assert ledger["read"] == len(everything)
    assert ledger["rejected"] == {"tokenize/empty_text": empty}
    assert ledger["kept"] == len(everything) - empty
    stored = current_manifest(open_store(str(calm[0]))).ledger
    assert stored.read.bytes == sum(len(content.encode()) for content in everything) == stored.kept.bytes
    counted = index_of(calm[0])["splits"]
    assert sum(domain["documents"] for split in counted.values() for domain in split.values()) == ledger["kept"]


def test_every_document_is_in_rows_that_name_it_word_by_word_and_on_one_side(calm, text):
    tokenizer = tokenizer_of(calm[0])
    for domain, documents in documents_of(text).items():
        sides = {split: tokens_of(calm[0], split, domain) for split in ("train", "held_out")}
        assert not set(sides["train"]) & set(sides["held_out"])
        together = {**sides["train"], **sides["held_out"]}
        assert set(together) == {name for name, (content, _) in documents.items() if content}
        for name, tokens in together.items():
            assert tokens.count(tokenizer.end) == 1
            assert tokens[-1] == tokenizer.end
            assert tokenizer.encoder.decode(tokens[:-1], skip_special_tokens=False) == documents[name][0]


def test_documents_are_held_out_by_their_column(calm, text):
    books = documents_of(text)["books"]
    held = tokens_of(calm[0], "held_out", "books")
    assert {books[name][1] for name in held} == {"validation"}
    assert {books[name][1] for name in tokens_of(calm[0], "train", "books")} == {"train"}


def test_documents_are_held_out_by_a_hash_of_their_id_whatever_else_the_corpus_holds(calm, run_here, text, tmp_path):
    held = set(tokens_of(calm[0], "held_out", "code"))
    assert 0.1 < len(held) / 200 < 0.3
    alone = tokenize(text, domains={"code": {"paths": [str(text / "code" / "c.parquet")]}})
    run_here(alone)
    assert set(tokens_of(tmp_path / "out", "held_out", "code")) == held


def test_without_held_out_documents_there_is_one_side(run_here, text, tmp_path):
    config = tokenize(text, held_out=0, domains={"code": {"paths": [str(text / "code" / "c.parquet")]}})
    run_here(config)
    assert list(index_of(tmp_path / "out")["splits"]) == ["train"]


def test_rows_chosen_by_columns_and_held_out_by_another_never_leak(run_here, text, tmp_path):
    books = {"paths": [str(text / "books" / "*.parquet")], "where_not": {"grade": 1}}
    config = tokenize(text, domains={"books": {**books, "held_out_where": {"split": "validation"}}})
    run_here(config)
    rows = [row for path in sorted((text / "books").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    for split, value in (("train", "train"), ("held_out", "validation")):
        wanted = {row["id"] for row in rows if row["content"] and row["grade"] != 1 and row["split"] == value}
        assert set(tokens_of(tmp_path / "out", split, "books")) == wanted


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def test_the_index_counts_what_the_shards_hold(calm, run_here, text, tmp_path, packing):
    out = calm[0]
    if packing == "best_fit":
        out = tmp_path / "out"
        run_here(tokenize(text, packing=packing))
    index = index_of(out)
    assert (index["sequence_length"], index["packing"]) == (LENGTH, packing)
    for split in index["splits"].values():
        for domain in split.values():
            tables = [pq.read_table(out / shard) for shard, _ in domain["shards"]]
            lengths = np.concatenate([table["length"].to_numpy() for table in tables])
            assert domain["tokens"] == lengths.sum()
            assert domain["padding"] == len(lengths) * (LENGTH + 1) - lengths.sum()
            assert [sum(groups) for _, groups in domain["shards"]] == [table.num_rows for table in tables]
            assert all(len(tokens) == LENGTH + 1 for table in tables for tokens in table["tokens"].to_pylist())
    for split in ("train", "held_out"):
        assert open_tokens(str(out), split).packing == packing


def same_files(first, second):
    names = [{path.name: path.read_bytes() for path in (out / "tokens").iterdir()} for out in (first, second)]
    return names[0] == names[1]


def test_the_bytes_do_not_depend_on_workers(calm, cli, text, tmp_path):
    done = cli("run", manifest(tmp_path / "m.yaml", tmp_path / "out", tokenize(text), workers=2), "--json")
    assert done.code == 0, done.stderr
    assert done.result["digest"] == calm[1]["digest"]
    assert same_files(calm[0], tmp_path / "out")


@pytest.mark.parametrize("point", ["driver.task_done:1", "driver.task_done:4", "run.before_pointer:1"])
def test_a_killed_run_goes_on_where_it_stopped_and_gives_the_same_bytes(calm, cli, text, tmp_path, point):
    arguments = ("run", manifest(tmp_path / "m.yaml", tmp_path / "out", tokenize(text), workers=2), "--json")
    assert cli(*arguments, CORPUS_CRASH_AT=point).code == -signal.SIGKILL
    store = open_store(str(tmp_path / "out"))
    assert current_manifest(store) is None
    finished = {name: store.read(name) for name in store.names(".work") if name.endswith("seconds.json")}
    assert len(finished) >= int(point[-1])
    done = cli(*arguments)
    assert done.code == 0, done.stderr
    assert done.result["digest"] == calm[1]["digest"]
    assert same_files(calm[0], tmp_path / "out")
    # a task that was done again would have written other times
    assert {name: store.read(name) for name in finished} == finished


def test_a_killed_worker_is_replaced(calm, cli, text, tmp_path):
    marker = tmp_path / "crashed"
    arguments = ("run", manifest(tmp_path / "m.yaml", tmp_path / "out", tokenize(text)), "--json")
    done = cli(*arguments, CORPUS_CRASH_AT="task.before_record:2", CORPUS_CRASH_ONCE=str(marker))
    assert marker.exists()
    assert done.code == 0, done.stderr
    assert done.result["digest"] == calm[1]["digest"]


def test_other_text_in_the_same_place_gives_what_a_fresh_run_gives(run_here, tmp_path):
    source = tmp_path / "text"
    config = {
        "sequence_length": LENGTH,
        "tokenizer": {"train": {"vocab": 300, "sample_bytes": "10KiB"}},
        "domains": {"a": {"paths": [str(source / "*.parquet")]}},
    }
    pq_path = source / "a.parquet"
    source.mkdir()
    digests = []
    for seed, name in ((1, "a"), (2, "a"), (2, "renamed")):
        pq_path.unlink(missing_ok=True)
        pq_path = source / f"{name}.parquet"
        pq.write_table(pa.table({"text": texts(seed, 60, 15)}), pq_path)  # no ids: the name of the file stands in
        digests += [run_here(config, out)["digest"] for out in ("again", f"fresh{seed}{name}")]
        assert digests[-1] == digests[-2], name
    assert len(set(digests)) == 3


def test_a_tokenizer_of_ones_own(run_here, text, tmp_path):
    mine = train_bpe(texts(9, 50, 20), 320)
    mine.save(tmp_path / "mine")
    config = tokenize(text, tokenizer={"path": str(tmp_path / "mine")})
    run_here(config)
    corpus = open_tokens(str(tmp_path / "out"))
    assert (corpus.tokenizer_digest, corpus.vocab, corpus.eos) == (mine.digest, mine.vocab, mine.end)


def test_the_tokenizer_does_not_learn_from_held_out_documents(run_here, tmp_path):
    documents = ["plain words only " * 5, "qqqqqqqq zzzzzzzz " * 50]
    write_text(tmp_path / "t" / "t.parquet", documents, split=["train", "validation"])
    domain = {"paths": [str(tmp_path / "t" / "*.parquet")], "held_out_where": {"split": "validation"}}
    config = {"sequence_length": LENGTH, "tokenizer": {"train": {"vocab": 300}}, "domains": {"t": domain}}
    run_here(config)
    vocabulary = tokenizer_of(tmp_path / "out").encoder.get_vocab()
    assert any("wo" in token for token in vocabulary)
    assert not any("qq" in token or "zz" in token for token in vocabulary)


def test_a_sound_corpus_is_found_sound(calm, cli):
    done = cli("verify", str(calm[0]))
    assert done.code == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("sound")


@pytest.mark.parametrize("kind", ["part", "index", "tokenizer"])
def test_verify_finds_a_flipped_byte(calm, tmp_path, kind):
    shutil.copytree(calm[0] / "tokens", tmp_path / "out" / "tokens")
    shutil.copytree(calm[0] / "manifests", tmp_path / "out" / "manifests")
    shutil.copy(calm[0] / "CURRENT", tmp_path / "out")
    victim = sorted((tmp_path / "out" / "tokens").glob(f"{kind}-*"))[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    (fault,) = verify_corpus(LocalStore(str(tmp_path / "out"))).faults
    assert f"{victim.name} is not the file that was written" in fault


def test_verify_finds_an_index_that_does_not_agree_with_the_shards(calm, tmp_path):
    shutil.copytree(calm[0] / "tokens", tmp_path / "out" / "tokens")
    store = LocalStore(str(tmp_path / "out"))
    corpus = current_manifest(open_store(str(calm[0])))
    index = index_of(calm[0])
    index["splits"]["train"]["code"]["tokens"] += 1
    entry = publish_bytes(store, canonical_json(index), "tokens/index-00000000.json")
    publish_corpus(store, corpus.model_copy(update={"files": {**corpus.files, "index": (entry,)}}), {})
    assert verify_corpus(store).faults == ["code/train: the tokens in the files are not those of the index"]


def test_verify_finds_files_that_do_not_belong(calm, tmp_path):
    shutil.copytree(calm[0], tmp_path / "out", ignore=shutil.ignore_patterns(".work"))
    (tmp_path / "out" / "tokens" / "notes.txt").write_text("x")
    assert verify_corpus(LocalStore(str(tmp_path / "out"))).faults == ["tokens/notes.txt: not part of this corpus"]


def test_a_run_mends_a_missing_shard(calm, cli, text, tmp_path):
    arguments = ("run", manifest(tmp_path / "m.yaml", tmp_path / "out", tokenize(text)), "--json")
    assert cli(*arguments).code == 0
    sorted((tmp_path / "out" / "tokens").glob("part-*"))[1].unlink()
    assert cli("verify", str(tmp_path / "out")).code == 1
    assert cli(*arguments).result["digest"] == calm[1]["digest"]
    assert same_files(calm[0], tmp_path / "out")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hugging_face_datasets_reads_the_shards(calm, tmp_path):
    import datasets

    files = [str(calm[0] / shard) for shard, _ in index_of(calm[0])["splits"]["train"]["books"]["shards"]]
    found = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    wanted = pa.concat_tables([pq.read_table(path) for path in files])
    assert found.num_rows == wanted.num_rows > 0
    assert found.column_names == ["tokens", "length", "starts", "documents"]
    assert found[3]["tokens"] == wanted["tokens"][3].as_py()
    assert found[:]["documents"] == wanted["documents"].to_pylist()


HEAD = """name: made
output: {path: OUT}
executor: {kind: local}
tokenize:
  sequence_length: 24
"""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("  domain: {a: {paths: [x.parquet]}}\n", ["m.yaml:6:3", "unknown key", "did you mean 'domains'"]),
        ("  domains: {a: {pathes: [x.parquet]}}\n", ["m.yaml:6:17", "unknown key", "did you mean 'paths'"]),
        ("  domains: {a: {paths: []}}\n", ["m.yaml:6:", "tokenize.domains.a.paths"]),
        ("  domains: {}\n", ["m.yaml:6:", "tokenize.domains"]),
        ("  packing: bestfit\n  domains: {a: {paths: [x]}}\n", ["m.yaml:6:", "did you mean 'best_fit'"]),
        (
            "  domains: {a: {paths: [x]}}\n  tokenizer:\n    path: somewhere\n    train: {vocab: 400}\n",
            ["m.yaml:7:3", "tokenize.tokenizer", "name a path, or train, not both"],
        ),
        ("  domains: {a: {paths: [x]}}\n  held_out: 0.7\n", ["m.yaml:7:", "tokenize.held_out"]),
        ("  domains: {a: {paths: [x]}}\n  tokenizer: {train: {vocab: 5}}\n", ["m.yaml:7:", "vocab"]),
        ("  domains: {a: {paths: [gone/*.parquet]}}\n", ["domain 'a'", "nothing matches gone/*.parquet"]),
        (
            "  domains: {a: {paths: [TEXT], held_out_where: {spilt: validation}}}\n",
            ["no column 'spilt' to hold documents out by", "tokenize.domains.a.held_out_where", "split"],
        ),
        (
            "  domains: {a: {paths: [TEXT], held_out_where: {grade: validation}}}\n",
            ["column 'grade' holds int64, which 'validation' is not"],
        ),
        ("  domains: {a: {paths: [TEXT]}}\n  tokenizer: {path: nowhere}\n", ["no tokenizer here", "nowhere"]),
    ],
)
def test_a_wrong_manifest_is_refused_with_the_place(text, tmp_path, body, told, capsys):
    whole = (HEAD + body).replace("OUT", str(tmp_path / "out")).replace("TEXT", str(text / "books" / "b0.parquet"))
    path = tmp_path / "m.yaml"
    path.write_text(whole)
    with pytest.raises(SystemExit) as caught:
        main(["run", str(path)])
    assert caught.value.code in (1, 2)
    said = capsys.readouterr().err.replace("\n", " ")
    for words in told:
        assert words in said
    assert not Path(tmp_path / "out" / "tokens").exists()
