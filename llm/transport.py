"""Requests over HTTP: which server gets them, what is sent, what its answers mean, and when to ask again."""

from __future__ import annotations

import asyncio
import difflib
import email.utils
import json
import os
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from corpus.errors import ModelError
from llm.client import Cause, Generation, Refusal, Request
from llm.config import Endpoint

LONGEST_WAIT_S: Final = 60.0
LARGEST_ANSWER: Final = 16 << 20  # bytes
LEFT_OUT_S: Final = 5.0  # an address that cannot be reached
_RETRIED: Final = frozenset({"rate_limited", "server_error", "timeout", "unreachable"})
_TOO_LONG: Final = re.compile(r"(?i)context length|maximum context|max_model_len|too long|too many tokens|longer than")
_THOUGHT: Final = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class _AttemptError(Exception):
    """One attempt that brought no answer."""

    def __init__(self, cause: Cause, detail: str, wait_s: float | None = None) -> None:
        super().__init__(cause, detail)
        self.cause, self.detail, self.wait_s = cause, detail[:300], wait_s


class Transport:
    """Sends requests to the servers of an endpoint. Use as an async context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.retries = endpoint, 0
        self._load = dict.fromkeys(endpoint.urls, 0)
        self._out_until = dict.fromkeys(endpoint.urls, 0.0)
        self._choices_known = True  # the server takes a list of choices, until it says otherwise

    async def __aenter__(self) -> Transport:
        self._client = _client(self.endpoint)
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
        status, headers, data = await self._post(url + path, self._body(request))
        if status == 400 and request.choices and self._choices_known and not _TOO_LONG.search(_message(data)):
            self._choices_known = False  # a server that knows no structured outputs: the answer is checked anyway
            status, headers, data = await self._post(url + path, self._body(request))
        if status != 200:
            raise _http_fault(status, headers, _message(data))
        return _generation(data, headers, request)

    async def _post(self, url: str, body: Mapping[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        try:
            async with asyncio.timeout(self.endpoint.timeout_s), self._client.stream("POST", url, json=body) as answer:
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
        except httpx.HTTPError as error:  # the connection broke, or the answer is no HTTP
            raise _AttemptError("server_error", f"{type(error).__name__}: {error}") from None

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
        if request.choices and self._choices_known:
            body["structured_outputs"] = {"choice": list(request.choices)}
        return body


def _client(endpoint: Endpoint) -> httpx.AsyncClient:
    headers = {}
    if endpoint.api_key_env:
        key = os.environ.get(endpoint.api_key_env)
        if not key:
            raise ModelError(
                f"the environment variable {endpoint.api_key_env} is not set",
                where="the endpoint's api_key_env",
                fix=f"export {endpoint.api_key_env}=...",
            )
        headers["Authorization"] = f"Bearer {key}"
    local = all(urlsplit(url).hostname in _LOOPBACK for url in endpoint.urls)
    return httpx.AsyncClient(
        headers=headers,
        timeout=httpx.Timeout(endpoint.timeout_s, connect=min(10.0, endpoint.timeout_s)),
        limits=httpx.Limits(max_connections=endpoint.concurrency, max_keepalive_connections=endpoint.concurrency),
        follow_redirects=False,
        trust_env=not local,
    )


async def check_endpoint(endpoint: Endpoint) -> None:
    """Ask every address for its models. Raises ``ModelError`` where one cannot be used."""
    async with _client(endpoint) as client:
        for url in endpoint.urls:
            try:
                answer = await client.get(f"{url}/models", timeout=min(30.0, endpoint.timeout_s))
            except httpx.HTTPError as error:
                detail = str(error) or type(error).__name__
                raise ModelError(
                    f"the language model cannot be reached: {detail}", where=url, fix="start the server, or check urls:"
                ) from None
            _check_models(answer, url, endpoint)


def _check_models(answer: httpx.Response, url: str, endpoint: Endpoint) -> None:
    if answer.status_code in (401, 403):
        fix = f"check the key in {endpoint.api_key_env}" if endpoint.api_key_env else "set api_key_env"
        raise ModelError(f"the server does not accept the key (HTTP {answer.status_code})", where=url, fix=fix)
    if answer.status_code != 200:
        return  # not every server lists its models
    try:
        names = [str(entry["id"]) for entry in answer.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return
    if names and endpoint.model not in names:
        close = difflib.get_close_matches(endpoint.model, names, n=1, cutoff=0)
        raise ModelError(f"the server has no model {endpoint.model!r}", where=url, fix=f"did you mean {close[0]!r}?")


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
    except (ValueError, TypeError):
        return None


def _message(data: bytes) -> str:
    """What a server says of an error, as one line."""
    text = data[:4096].decode("utf-8", "replace")
    try:
        found = json.loads(text)
        inner = found.get("error", found) if isinstance(found, dict) else found
        text = str(inner.get("message", inner) if isinstance(inner, dict) else inner)
    except ValueError:
        pass
    return " ".join(text.split())[:300]


def _generation(data: bytes, headers: httpx.Headers, request: Request) -> Generation:
    try:
        found = json.loads(data)
        choice = found["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        usage = found.get("usage") or {}
        answer = Generation(
            text=_THOUGHT.sub("", text or ""),
            value=None,
            finish=str(choice.get("finish_reason") or ""),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            model=str(found.get("model") or ""),
            engine=str(found.get("system_fingerprint") or headers.get("server", "")),
            sampling_seed=request.sampling.seed,
        )
    except IndexError:
        raise _AttemptError("empty", "no choices") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _AttemptError("server_error", f"an answer of another form: {type(error).__name__}") from None
    return answer
