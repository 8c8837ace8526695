"""The way to an endpoint: its key, the proxies that are not used, and the first question, which models it serves."""

from __future__ import annotations

import difflib
import ipaddress
import os
import ssl
from functools import cache
from typing import Final
from urllib.parse import urlsplit

import httpx

from corpus.errors import ModelError
from llm.config import Endpoint

_CONNECT_S: Final = 10.0
_CHECK_S: Final = 30.0


def read_key(endpoint: Endpoint) -> str | None:
    """The key from its environment variable. Raises ``ModelError``, which never shows it, where it is unusable."""
    name = endpoint.api_key_env
    if name is None:
        return None
    key = os.environ.get(name, "").strip()  # files end with a newline
    if not key:
        raise ModelError(
            f"the environment variable {name} is not set", where="the endpoint's api_key_env", fix=f"export {name}=..."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ModelError(
            f"the environment variable {name} holds characters that no HTTP header can carry",
            where="the endpoint's api_key_env",
            fix="set it to the key alone: one line of printable ASCII",
        )
    return key


def connect(endpoint: Endpoint, key: str | None) -> httpx.AsyncClient:
    """A client that follows no redirects and asks no proxy for a loopback address."""
    hosts = {urlsplit(url).hostname or "" for url in endpoint.urls}
    here = {host for host in hosts if _is_loopback(host)}
    headers = {"Accept-Encoding": "identity"}  # so that the bound on answers counts what is sent
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return httpx.AsyncClient(
        headers=headers,
        verify=tls(),
        timeout=httpx.Timeout(endpoint.timeout_s, connect=min(_CONNECT_S, endpoint.timeout_s)),
        limits=httpx.Limits(max_connections=endpoint.concurrency, max_keepalive_connections=endpoint.concurrency),
        follow_redirects=False,
        trust_env=here != hosts,
        mounts={f"all://[{host}]" if ":" in host else f"all://{host}": None for host in here},
    )


@cache
def tls() -> ssl.SSLContext:
    """Whom to trust over https. Reading the certificates takes 25 ms: once per process, not per client."""
    return httpx.create_ssl_context()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def check_endpoint(endpoint: Endpoint) -> None:
    """Ask every address for its models. Raises ``ModelError`` where one cannot be used."""
    async with connect(endpoint, read_key(endpoint)) as client:
        for url in endpoint.urls:
            try:
                answer = await client.get(f"{url}/models", timeout=min(_CHECK_S, endpoint.timeout_s))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
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
