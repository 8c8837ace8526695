"""The client against a server that misbehaves in every way that servers do."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import ModelError
from llm.cache import ResponseCache
from llm.client import Client, Generation, Message, Refusal, Request
from llm.config import Endpoint, Sampling
from tests.llm.fake_endpoint import Answer, Fake, failed, fake_endpoint, said

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def endpoint(*fakes: Fake | str, **changes: Any) -> Endpoint:
    urls = tuple(fake if isinstance(fake, str) else fake.url for fake in fakes)
    return Endpoint(**({"urls": urls, "model": "tiny", "backoff_s": 0.001, "timeout_s": 5} | changes))


def ask(text: str = "What is a fjord?", **wanted: Any) -> Request:
    return Request((Message("system", "Be brief."), Message("user", text)), Sampling(seed=5), **wanted)


def test_answers_come_in_the_order_of_questions_with_their_account() -> None:
    with fake_endpoint(lambda _, body: said(body["messages"][1]["content"].upper())) as fake:
        client = Client(endpoint(fake, concurrency=4))
        found = client.generate([ask(f"q{i}") for i in range(50)])
    assert [answer.text for answer in found] == [f"Q{i}" for i in range(50)]
    assert {(answer.model, answer.engine, answer.sampling_seed) for answer in found} == {("tiny", "fake-1", 5)}
    assert (client.usage.requests, client.usage.answered, client.usage.retries) == (50, 50, 0)
    assert (client.usage.prompt_tokens, client.usage.completion_tokens) == (350, 150)
    assert fake.paths[0] == "/v1/chat/completions"


def test_no_more_requests_at_a_time_than_allowed() -> None:
    ready = threading.Barrier(3, timeout=20)

    def script(number: int, _: dict[str, Any]) -> Answer:
        if number < 9:
            ready.wait()  # passes only when exactly three are there together
        return said("yes")

    with fake_endpoint(script) as fake:
        found = Client(endpoint(fake, concurrency=3)).generate([ask(f"q{i}") for i in range(9)])
    assert all(isinstance(answer, Generation) for answer in found)
    assert fake.most_at_once == 3


def test_base_models_get_one_prompt() -> None:
    with fake_endpoint(lambda *_: said("ok")) as fake:
        Client(endpoint(fake, face="completion")).generate([ask()])
    assert fake.paths == ["/v1/completions"]
    assert fake.bodies[0]["prompt"] == "Be brief.\n\nWhat is a fjord?\n"


@pytest.mark.parametrize(
    "trouble",
    [failed(429, "slow down"), failed(429, Retry_After="0"), failed(500), failed(503), Answer(reset=True)],
    ids=["429", "429 with Retry-After", "500", "503", "reset"],
)
def test_passing_trouble_is_waited_out(trouble: Answer) -> None:
    with fake_endpoint(lambda number, _: said("at last") if number >= 3 else trouble) as fake:
        client = Client(endpoint(fake, concurrency=1))
        (answer,) = client.generate([ask()])
    assert isinstance(answer, Generation)
    assert answer.text == "at last"
    assert (len(fake.bodies), client.usage.retries) == (4, 3)


@pytest.mark.parametrize(
    ("trouble", "cause", "sent"),
    [
        (failed(429), "rate_limited", 3),
        (failed(502), "server_error", 3),
        (Answer(hang=True), "timeout", 3),
        (Answer(b"<html>gateway</html>"), "server_error", 3),
        (Answer({"choices": "none"}), "server_error", 3),
        (failed(404, "no such model"), "rejected", 1),
        (failed(307, Location="http://example.org/"), "rejected", 1),
        (failed(400, "This model's maximum context length is 512 tokens"), "too_long", 1),
        (Answer(b" " * (17 << 20)), "rejected", 1),
        (Answer({"choices": []}), "empty", 3),
        (said(""), "empty", 3),
        (said(None), "empty", 3),
    ],
)
def test_trouble_that_stays_is_a_refusal_with_its_cause(trouble: Answer, cause: str, sent: int) -> None:
    with fake_endpoint(lambda *_: trouble) as fake:
        patience = 0.3 if cause == "timeout" else 30
        client = Client(endpoint(fake, attempts=3, timeout_s=patience, concurrency=1))
        found = client.generate([ask()])
    assert [answer.cause for answer in found if isinstance(answer, Refusal)] == [cause]
    assert len(fake.bodies) == sent
    assert client.usage.refused == {cause: 1}


def test_a_storm_of_429_loses_nothing() -> None:
    with fake_endpoint(
        lambda number, body: failed(429) if number % 2 else said(body["messages"][1]["content"])
    ) as fake:
        found = Client(endpoint(fake, concurrency=8, attempts=20)).generate([ask(f"q{i}") for i in range(100)])
    assert [answer.text for answer in found if isinstance(answer, Generation)] == [f"q{i}" for i in range(100)]


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (said('{"n": 1', finish="length"), "bad_json"),
        (said("I think it is 1."), "bad_json"),
        (said('{"n": "one"}'), "wrong_schema"),
        (said("[" * 100_000), "bad_json"),
        (said('{"n": 1, "m": 2}'), "wrong_schema"),
        (said('{"n": NaN}'), "bad_json"),
        (said('{"n": 1e999}'), "bad_json"),
        (said(r'{"\ud800": 1}'), "bad_json"),
    ],
)
def test_json_is_checked_here_and_asked_for_again_with_another_seed(bad: Answer, cause: str) -> None:
    good = said('```json\n{"n": 4}\n```')
    with fake_endpoint(lambda number, _: bad if number < 2 else good) as fake:
        (answer,) = Client(endpoint(fake)).generate([ask(schema=SCHEMA)])
        assert isinstance(answer, Generation)
        assert (answer.value, answer.sampling_seed) == ({"n": 4}, 7)
        assert [body["seed"] for body in fake.bodies] == [5, 6, 7]
        assert fake.bodies[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    with fake_endpoint(lambda *_: bad) as fake:
        (answer,) = Client(endpoint(fake)).generate([ask(schema=SCHEMA)])
    assert isinstance(answer, Refusal)
    assert (answer.cause, answer.attempts) == (cause, 3)
    assert len(fake.bodies) == 3


def test_choices_work_with_and_without_the_servers_help() -> None:
    with fake_endpoint(lambda *_: said(" yes\n")) as fake:
        (answer,) = Client(endpoint(fake)).generate([ask(choices=("yes", "no"))])
    assert isinstance(answer, Generation)
    assert answer.value == "yes"
    assert fake.bodies[0]["structured_outputs"] == {"choice": ["yes", "no"]}

    def script(_: int, body: dict[str, Any]) -> Answer:
        return failed(400, "unknown field") if "structured_outputs" in body else said("no")

    with fake_endpoint(script) as fake:
        client = Client(endpoint(fake, concurrency=1))
        found = client.generate([ask(f"q{i}", choices=("yes", "no")) for i in range(3)])
    assert [answer.value for answer in found if isinstance(answer, Generation)] == ["no"] * 3
    assert len(fake.bodies) == 4  # it was refused once, and is not tried again
    with fake_endpoint(lambda *_: said("perhaps")) as fake:
        (answer,) = Client(endpoint(fake)).generate([ask(choices=("yes", "no"))])
    assert isinstance(answer, Refusal)
    assert answer.cause == "not_a_choice"


def test_a_server_without_choices_is_found_out_by_many_requests_at_once_and_stays_known() -> None:
    together = threading.Barrier(4, timeout=20)

    def script(number: int, body: dict[str, Any]) -> Answer:
        if number < 4:
            together.wait()  # all have left with the list of choices before the first is refused
        return failed(400, "unknown field") if "structured_outputs" in body else said("no")

    wanted = [ask(f"q{i}", choices=("yes", "no")) for i in range(4)]
    with fake_endpoint(script) as fake:
        client = Client(endpoint(fake, concurrency=4))
        found = client.generate(wanted)
        assert [answer.value for answer in found if isinstance(answer, Generation)] == ["no"] * 4
        client.generate(wanted)
    assert len(fake.bodies) == 4 + 4 + 4


def test_a_400_for_another_reason_does_not_cost_the_others_the_servers_help() -> None:
    def script(_: int, body: dict[str, Any]) -> Answer:
        return failed(400, "forbidden word") if "q0" in body["messages"][1]["content"] else said("no")

    with fake_endpoint(script) as fake:
        found = Client(endpoint(fake, concurrency=1)).generate([ask(f"q{i}", choices=("yes", "no")) for i in range(2)])
    assert [getattr(answer, "cause", "") for answer in found] == ["rejected", ""]
    assert "structured_outputs" in fake.bodies[-1]


def test_half_a_surrogate_pair_ends_no_run_and_reaches_no_file() -> None:
    with fake_endpoint(lambda *_: said("x\ud800")) as fake:
        (answer,) = Client(endpoint(fake)).generate([ask("a\udfffb")])
    assert isinstance(answer, Generation)
    assert answer.text == "x?"
    assert fake.bodies[0]["messages"][1]["content"] == "a\udfffb"


@pytest.mark.parametrize("also", [(), ("http://192.0.2.1:9/v1",)], ids=["loopback alone", "beside a remote one"])
def test_no_proxy_is_asked_for_a_loopback_address(also: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with fake_endpoint(lambda *_: said("x")) as fake:
        (answer,) = Client(endpoint(fake, *also, attempts=1)).generate([ask()])
    assert isinstance(answer, Generation)


def test_thinking_aloud_is_not_part_of_the_answer() -> None:
    with fake_endpoint(lambda *_: said("<think>\nhm\n</think>\n\nA fjord.")) as fake:
        (answer,) = Client(endpoint(fake)).generate([ask()])
    assert isinstance(answer, Generation)
    assert answer.text == "A fjord."


def test_nobody_there_is_an_error_before_all_attempts_are_spent() -> None:
    with fake_endpoint(lambda *_: said("x")) as fake:
        gone = fake.url
    with pytest.raises(ModelError, match="cannot be reached"):
        Client(endpoint(gone)).check()
    with pytest.raises(ModelError, match="cannot be reached"):
        Client(endpoint(gone, concurrency=2, attempts=2)).generate([ask(f"q{i}") for i in range(1000)])


def test_the_check_names_a_wrong_model_and_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_endpoint(lambda *_: said("x"), models=["tiny-1b", "other"]) as fake:
        with pytest.raises(ModelError, match=r"did you mean 'tiny-1b'"):
            Client(endpoint(fake)).check()
        Client(endpoint(fake, model="other")).check()
    with fake_endpoint(lambda *_: said("x"), status=401) as fake:
        with pytest.raises(ModelError, match="set api_key_env"):
            Client(endpoint(fake)).check()
        monkeypatch.delenv("CANARY_KEY", raising=False)
        with pytest.raises(ModelError, match="CANARY_KEY is not set"):
            Client(endpoint(fake, api_key_env="CANARY_KEY")).check()


def test_a_key_that_no_header_can_carry_is_an_error_that_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_endpoint(lambda *_: said("x")) as fake:
        client = Client(endpoint(fake, api_key_env="CANARY_KEY"))
        monkeypatch.setenv("CANARY_KEY", "sk-canary\n")
        assert isinstance(client.generate([ask()])[0], Generation)
        assert fake.headers[0]["Authorization"] == "Bearer sk-canary"
        for key in ("sk-can\nary", "sk-canäry", "sk can"):
            monkeypatch.setenv("CANARY_KEY", key)
            with pytest.raises(ModelError, match="no HTTP header can carry") as found:
                client.generate([ask()])
            assert "sk" not in str(found.value)


def test_the_key_reaches_the_server_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_KEY", "sk-canary-5f2")
    with fake_endpoint(
        lambda number, _: failed(404, "x" * 276 + " bad sk-canary-5f2") if number else said("x")
    ) as fake:
        config = endpoint(fake, api_key_env="CANARY_KEY", concurrency=1)
        client = Client(config, ResponseCache(tmp_path / "answers.sqlite"))
        found = client.generate([ask("a"), ask("b")])
        assert fake.headers[0]["Authorization"] == "Bearer sk-canary-5f2"
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for place in (repr(config), config.model_dump_json(), repr(client.usage), repr(found), stored.decode("latin-1")):
        assert "sk-can" not in place


def test_a_server_that_dies_leaves_its_work_to_the_others() -> None:
    with fake_endpoint(lambda *_: said("x")) as gone:
        dead = gone.url
    with fake_endpoint(lambda *_: said("one")) as one, fake_endpoint(lambda *_: said("two")) as two:
        found = Client(endpoint(dead, one, two, concurrency=6)).generate([ask(f"q{i}") for i in range(60)])
    assert all(isinstance(answer, Generation) for answer in found)
    assert len(one.bodies) + len(two.bodies) == 60
    assert min(len(one.bodies), len(two.bodies)) > 5


def test_what_was_answered_is_never_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    wanted = [ask(f"q{i}", schema=SCHEMA) for i in range(20)]
    with fake_endpoint(lambda number, _: said(json.dumps({"n": number})) if number < 12 else failed(404)) as fake:
        first = Client(endpoint(fake, concurrency=1), ResponseCache(path)).generate(wanted)
    assert sum(isinstance(answer, Generation) for answer in first) == 12
    with fake_endpoint(lambda number, _: said(json.dumps({"n": 100 + number}))) as fake:
        client = Client(endpoint(fake, concurrency=1), ResponseCache(path))
        second = client.generate(wanted)
        assert len(fake.bodies) == 8
        assert [a.value["n"] for a in second if isinstance(a, Generation)] == [*range(12), *range(100, 108)]
        assert client.usage.cached == 12
        other = Request(wanted[0].messages, Sampling(seed=5, temperature=0.5), schema=SCHEMA)
        Client(endpoint(fake), ResponseCache(path)).generate([other])
        assert len(fake.bodies) == 9


def test_an_answer_that_took_several_seeds_is_not_asked_again_either(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "answers.sqlite")
    with fake_endpoint(lambda number, _: said('{"n": 4}' if number == 2 else "noise")) as fake:
        (first,) = Client(endpoint(fake), cache).generate([ask(schema=SCHEMA)])
        (second,) = Client(endpoint(fake), cache).generate([ask(schema=SCHEMA)])
    assert len(fake.bodies) == 3
    assert isinstance(first, Generation)
    assert isinstance(second, Generation)
    assert (first.cached, second.cached) == (False, True)
    assert (first.value, first.sampling_seed) == (second.value, second.sampling_seed) == ({"n": 4}, 7)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "http://user:pass@host/v1",
        "http://host/v1?key=1",
        "file:///etc/passwd",
        "host:80",
        "http://h:99999/v1",
    ],
)
def test_addresses_that_are_none_or_hold_secrets_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address") as found:
        Endpoint(urls=(url,), model="m")
    assert "pass@" not in str(found.value)
