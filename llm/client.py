"""A client for OpenAI-compatible servers: bounded concurrency, bounded retries, and an answer or a reason for each.

``Client.generate`` never raises for a single request: what got no usable answer comes back as a ``Refusal`` with its
cause, so that the caller can count it. It raises ``ModelError`` where asking on makes no sense: no server can be
reached, the key is not set. ``Client.check`` asks beforehand whether the key is accepted and the model is there.

Retried, with exponential backoff and full jitter: 429 and 5xx answers, timeouts, broken connections. Not retried: other
4xx answers. Answers that break the wanted form are asked for again with the next sampling seed, twice at most.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from corpus.errors import ModelError
from llm.cache import ResponseCache, request_key
from llm.config import Endpoint, Sampling
from llm.structured import NO_VALUE, read_value

if TYPE_CHECKING:
    from llm.transport import Transport

Role = Literal["system", "user", "assistant"]
Cause = Literal[
    "rate_limited",
    "server_error",
    "timeout",
    "unreachable",
    "rejected",
    "too_long",
    "empty",
    "bad_json",
    "wrong_schema",
    "not_a_choice",
]
FORM_ATTEMPTS: Final = 3  # of an answer that breaks the wanted form
FORM_FAULTS: Final = frozenset({"empty", "bad_json", "wrong_schema", "not_a_choice"})
_FUSE: Final = 3  # times the concurrency: so many unreachable in a row, and nobody is there


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Request:
    """What is asked. ``schema``: JSON Schema that the answer must follow; ``choices``: what it may be."""

    messages: tuple[Message, ...]
    sampling: Sampling
    schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] | None = None
    tag: str = ""


@dataclass(frozen=True)
class Generation:
    """An answer. ``value``: parsed JSON or the choice, None for free text; ``finish``: why it ended."""

    text: str
    value: Any
    finish: str
    prompt_tokens: int
    completion_tokens: int
    model: str
    engine: str
    sampling_seed: int
    cached: bool = False


@dataclass(frozen=True)
class Refusal:
    """A request that got no usable answer."""

    cause: Cause
    detail: str
    attempts: int


@dataclass
class Usage:
    """What a client has done so far."""

    requests: int = 0
    answered: int = 0
    cached: int = 0
    retries: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Client:
    """Asks one endpoint. ``generate`` may be called from one thread at a time."""

    def __init__(self, endpoint: Endpoint, cache: ResponseCache | None = None) -> None:
        self.endpoint, self.usage = endpoint, Usage()
        self._cache, self._choices_known = cache, True

    def check(self) -> None:
        """Ask the server for its models once. Raises ``ModelError`` where it cannot be used."""
        from llm.connection import check_endpoint

        asyncio.run(check_endpoint(self.endpoint))

    def generate(
        self, requests: Sequence[Request], *, on_done: Callable[[int], None] | None = None
    ) -> list[Generation | Refusal]:
        """Answers in the order of ``requests``; ``on_done`` is told how many are done. Raises ``ModelError``."""
        return asyncio.run(self._generate(requests, on_done))

    async def _generate(
        self, requests: Sequence[Request], on_done: Callable[[int], None] | None
    ) -> list[Generation | Refusal]:
        from llm.transport import Transport

        answers: list[Generation | Refusal | None] = [None] * len(requests)
        waiting = iter(range(len(requests)))
        done = unreachable = 0
        async with Transport(self.endpoint, choices_known=self._choices_known) as transport:

            async def work() -> None:
                nonlocal done, unreachable
                for number in waiting:
                    answer = await self._answer(transport, requests[number])
                    answers[number] = answer
                    silent = isinstance(answer, Refusal) and answer.cause == "unreachable"
                    unreachable = unreachable + 1 if silent else 0
                    if unreachable >= min(_FUSE * self.endpoint.concurrency, len(requests)) and silent:
                        raise _unreachable(self.endpoint, answer)
                    done += 1
                    if on_done is not None:
                        on_done(done)

            workers = [asyncio.create_task(work()) for _ in range(min(self.endpoint.concurrency, len(requests)))]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)  # before their connections are closed
                self.usage.retries += transport.retries
                self._choices_known = transport.choices_known
        return [answer for answer in answers if answer is not None]

    async def _answer(self, transport: Transport, request: Request) -> Generation | Refusal:
        self.usage.requests += 1
        # Under the request as it was asked, whichever seed brought the answer: asked again, it is one look-up.
        key = request_key(self.endpoint, request)
        stored = self._cache.get(key) if self._cache else None
        answer = _checked(stored, request) if stored is not None else await self._ask(transport, request, key)
        if isinstance(answer, Refusal):
            self.usage.refused[answer.cause] += 1
            return answer
        self.usage.answered += 1
        self.usage.cached += stored is not None
        self.usage.prompt_tokens += answer.prompt_tokens
        self.usage.completion_tokens += answer.completion_tokens
        return replace(answer, cached=stored is not None)

    async def _ask(self, transport: Transport, request: Request, key: str) -> Generation | Refusal:
        """Ask until an answer has the wanted form, with one sampling seed after the other."""
        refusal = Refusal("empty", "", 0)
        for number in range(FORM_ATTEMPTS):
            seed = request.sampling.seed + number
            tried = replace(request, sampling=request.sampling.model_copy(update={"seed": seed}))
            found = await transport.ask(tried)
            answer = found if isinstance(found, Refusal) else _checked(found, request)
            if isinstance(answer, Generation):
                if self._cache is not None:
                    self._cache.put(key, answer)
                return answer
            if answer.cause not in FORM_FAULTS:
                return answer
            refusal = answer
        return replace(refusal, attempts=FORM_ATTEMPTS)


def _checked(answer: Generation, request: Request) -> Generation | Refusal:
    value, fault = read_value(answer.text, answer.finish, request.schema, request.choices)
    return (
        Refusal(fault, answer.text[:200], 1) if fault else replace(answer, value=None if value is NO_VALUE else value)
    )


def _unreachable(endpoint: Endpoint, answer: Generation | Refusal | None) -> ModelError:
    detail = answer.detail if isinstance(answer, Refusal) else ""
    return ModelError(
        f"the language model cannot be reached: {detail}",
        where=", ".join(endpoint.urls),
        fix="start the server, or check the address; what was answered already is kept",
    )
