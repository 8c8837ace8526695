"""Requests over HTTP: which server gets them, what is sent, what its answers mean, and when to ask again."""

from __future__ import annotations

import asyncio
import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from llm.client import Cause, Generation, Refusal, Request
from llm.config import Endpoint
from llm.connection import connect, read_key

LONGEST_WAIT_S: Final = 60.0
LARGEST_ANSWER: Final = 16 << 20  # bytes
LEFT_OUT_S: Final = 5.0  # an address that cannot be reached
_RETRIED: Final = frozenset({"rate_limited", "server_error", "timeout", "unreachable"})
_TOO_LONG: Final = re.compile(r"(?i)context length|maximum context|max_model_len|too long|too many tokens|longer than")
_THOUGHT: Final = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)
_SHORTEST_SECRET: Final = 6  # shorter ones are placeholders, and would blot out ordinary words


class _AttemptError(Exception):
    """One attempt that brought no answer."""

    def __init__(self, cause: Cause, detail: str, wait_s: float | None = None) -> None:
        super().__init__(cause, detail)
        self.cause, self.detail, self.wait_s = cause, detail[:300], wait_s


class Transport:
    """Sends requests to the servers of an endpoint. Use as an async context manager; raises ``ModelError``.

    ``choices_known``: the server takes a list of choices, as far as is known; it becomes False when it does not.
    """

    def __init__(self, endpoint: Endpoint, *, choices_known: bool = True) -> None:
        self.endpoint, self.retries, self.choices_known = endpoint, 0, choices_known
        self._key = read_key(endpoint)
        self._load = dict.fromkeys(endpoint.urls, 0)
        self._out_until = dict.fromkeys(endpoint.urls, 0.0)

    async def __aenter__(self) -> Transport:
        self._client = connect(self.endpoint, self._key)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask(self, request: Request) -> Generation | Refusal:
        """One answer, or why there is none after all attempts."""
        attempts = 0
        try:
            async for attempt in self._attempts():
                attempts = attempt.retry_state.attempt_number
                with attempt:
                    return await self._try(request)
        except _AttemptError as error:
            return Refusal(error.cause, error.detail, attempts)
        raise AssertionError("attempts end with an answer or an error")

    def _attempts(self) -> AsyncRetrying:
        jitter = wait_random_exponential(multiplier=self.endpoint.backoff_s, max=LONGEST_WAIT_S)

        def wait(state: RetryCallState) -> float:
            self.retries += 1
            error = state.outcome.exception() if state.outcome else None
            told = error.wait_s if isinstance(error, _AttemptError) else None
            return jitter(state) if told is None else min(told, LONGEST_WAIT_S)

        return AsyncRetrying(
            stop=stop_after_attempt(self.endpoint.attempts),
            wait=wait,
            retry=retry_if_exception(lambda error: isinstance(error, _AttemptError) and error.cause in _RETRIED),
            reraise=True,
        )

    async def _try(self, request: Request) -> Generation:
        url = self._least_busy()
        self._load[url] += 1
        try:
            return await self._send(url, request)
        except _AttemptError as error:
            if error.cause == "unreachable":
                self._out_until[url] = time.monotonic() + LEFT_OUT_S
            raise
        finally:
            self._load[url] -= 1

    def _least_busy(self) -> str:
        now = time.monotonic()
        there = [url for url in self.endpoint.urls if self._out_until[url] <= now] or list(self.endpoint.urls)
        return min(there, key=lambda url: self._load[url])

    async def _send(self, url: str, request: Request) -> Generation:
        path = "/chat/completions" if self.endpoint.face == "chat" else "/completions"
        body = self._body(request)
        status, headers, data = await self._post(url + path, body)
        if status == 400 and "structured_outputs" in body and not _TOO_LONG.search(self._message(data)):
            del body["structured_outputs"]  # the answer is checked here anyway
            status, headers, data = await self._post(url + path, body)
            self.choices_known = self.choices_known and status != 200
        if status != 200:
            raise _http_fault(status, headers, self._message(data))
        return _generation(data, headers, request)

    async def _post(self, url: str, body: Mapping[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        content = json.dumps(body).encode()  # ASCII: text with half a surrogate pair must not end the run
        form = {"Content-Type": "application/json"}
        sending = self._client.stream("POST", url, content=content, headers=form)
        try:
            async with asyncio.timeout(self.endpoint.timeout_s), sending as answer:
                data = bytearray()
                async for piece in answer.aiter_bytes():
                    data += piece
                    if len(data) > LARGEST_ANSWER:
                        raise _AttemptError("rejected", f"an answer of more than {LARGEST_ANSWER >> 20} MiB")
                return answer.status_code, answer.headers, bytes(data)
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout):
            raise _AttemptError("timeout", f"no answer within {self.endpoint.timeout_s:g} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _AttemptError("unreachable", str(error) or type(error).__name__) from None
        except httpx.InvalidURL as error:
            raise _AttemptError("rejected", f"no address: {error}") from None
        except httpx.HTTPError as error:  # the connection broke, or the answer is no HTTP
            raise _AttemptError("server_error", f"{type(error).__name__}: {error}") from None

    def _message(self, data: bytes) -> str:
        return _message(data, self._key or "")

    def _body(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "n": 1,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self.endpoint.face == "chat":
            body["messages"] = [{"role": message.role, "content": message.content} for message in request.messages]
        else:
            body["prompt"] = "\n\n".join(message.content for message in request.messages) + "\n"
        if request.schema is not None:
            form = {"name": "answer", "schema": dict(request.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if request.choices and self.choices_known:
            body["structured_outputs"] = {"choice": list(request.choices)}
        return body


def _http_fault(status: int, headers: httpx.Headers, message: str) -> _AttemptError:
    if status == 429:
        return _AttemptError("rate_limited", message, _retry_after(headers))
    if status >= 500 or status == 408:
        return _AttemptError("server_error", f"HTTP {status}: {message}", _retry_after(headers))
    if status in (400, 413, 422) and _TOO_LONG.search(message):
        return _AttemptError("too_long", message)
    return _AttemptError("rejected", f"HTTP {status}: {message}")


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds, from a number or a date; None where the header is absent or makes no sense."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _message(data: bytes, secret: str) -> str:
    """What a server says of an error, as one line, without the key, which some servers repeat."""
    text = data.decode("utf-8", "replace")
    try:
        found = json.loads(text)
        inner = found.get("error", found) if isinstance(found, dict) else found
        text = str(inner.get("message", inner) if isinstance(inner, dict) else inner)
    except (ValueError, RecursionError):
        pass
    if len(secret) >= _SHORTEST_SECRET:
        text = text.replace(secret, "[key]")  # before it is cut: a part of a key is a secret too
    return _sound(" ".join(text.split())[:300])


def _sound(text: str) -> str:
    """``text`` that can be written anywhere: half a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _generation(data: bytes, headers: httpx.Headers, request: Request) -> Generation:
    try:
        found = json.loads(data)
        choice = found["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        usage = found.get("usage") or {}
        answer = Generation(
            text=_sound(_THOUGHT.sub("", text or "")),
            value=None,
            finish=str(choice.get("finish_reason") or ""),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            model=_sound(str(found.get("model") or "")),
            engine=_sound(str(found.get("system_fingerprint") or headers.get("server", ""))),
            sampling_seed=request.sampling.seed,
        )
    except IndexError:
        raise _AttemptError("empty", "no choices") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _AttemptError("server_error", f"an answer of another form: {type(error).__name__}") from None
    return answer
