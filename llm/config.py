"""Which language model is asked, where it runs, and how it is sampled."""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator

from corpus.settings import Settings

_NAMES: Final = (
    "block-size cpu-offload-gb data-parallel-size disable-log-requests enable-chunked-prefill enable-prefix-caching "
    "enforce-eager generation-config gpu-memory-utilization kv-cache-dtype max-num-batched-tokens max-num-seqs "
    "no-enable-chunked-prefill no-enable-prefix-caching pipeline-parallel-size quantization reasoning-parser seed "
    "swap-space tokenizer-mode"
)
_ARGUMENTS: Final = frozenset(f"--{name}" for name in _NAMES.split())
"""What may be handed on to vLLM. Others load code (``--trust-remote-code``), open addresses, or are the engine's."""


class Sampling(Settings):
    """How an answer is drawn."""

    temperature: float = Field(default=1.0, ge=0, le=2)
    """0: always the likeliest word."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw from the likeliest words that make up this share."""
    max_tokens: int = Field(default=512, ge=1, le=1 << 20)
    """Length of an answer at most."""
    seed: int = Field(default=0, ge=0)
    """Same model, same server, same seed: same answer, as far as the server keeps that promise."""
    stop: tuple[str, ...] = ()
    """The answer ends before any of these."""


class Endpoint(Settings):
    """A server with an OpenAI-compatible face."""

    model_config = ConfigDict(hide_input_in_errors=True)  # an address that is refused may hold a password

    urls: tuple[str, ...] = Field(min_length=1)
    """Base addresses, such as http://127.0.0.1:8000/v1; requests are spread over several."""
    model: str = Field(min_length=1)
    """Name under which the server knows the model."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable that holds the key. The key itself is never written anywhere."""
    face: Literal["chat", "completion"] = "chat"
    """`chat` for instruction-tuned models, `completion` for base models."""
    concurrency: int = Field(default=16, ge=1, le=4096)
    """Requests at a time, over all tasks that ask it."""
    timeout_s: float = Field(default=120, gt=0)
    """Seconds that an answer may take."""
    attempts: int = Field(default=5, ge=1, le=20)
    """How often a request is sent when the server is busy, broken or silent."""
    backoff_s: float = Field(default=1.0, gt=0)
    """First wait between attempts; it doubles, with full jitter, up to a minute. Retry-After is obeyed."""

    @field_validator("urls")
    @classmethod
    def _plain(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("an address begins with http:// or https:// and a host")
            if not url.isprintable() or " " in url or not _has_port_or_none(url):
                raise ValueError("an address has no blanks, and a port of at most 65535")
            if parts.username or parts.password or parts.query or parts.fragment:
                raise ValueError("an address holds no user, password, query or fragment: keys come from api_key_env")
        return tuple(url.rstrip("/") for url in urls)


def _has_port_or_none(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


class Serve(Settings):
    """A vLLM server that the engine starts, watches and stops.

    The interpreter that has vLLM is named by the environment variable CORPUS_VLLM_PYTHON (default: this one): a
    manifest chooses what is computed, not which programs run.
    """

    model: str = Field(min_length=1)
    """Local Hugging Face directory (or a name that vLLM can resolve without a network)."""
    replicas: int = Field(default=1, ge=1, le=64)
    """Servers; requests are spread over them."""
    gpus: int = Field(default=1, ge=0, le=16)
    """GPUs of each; 0: on CPU."""
    max_model_len: int = Field(default=4096, ge=16)
    """Tokens of prompt and answer together."""
    dtype: str = Field(default="auto", pattern=r"^[a-z0-9]+$")
    """Precision of weights."""
    start_timeout_s: float = Field(default=600, gt=0)
    """Seconds until it must answer."""
    restarts: int = Field(default=3, ge=0)
    """How often a server that died is started again."""
    concurrency: int = Field(default=64, ge=1, le=4096)
    """Requests at a time, over all replicas."""
    arguments: tuple[str, ...] = ()
    """More arguments for vLLM, each of the form `--name` or `--name=value`, about memory, speed and precision."""

    @field_validator("arguments")
    @classmethod
    def _harmless(cls, arguments: tuple[str, ...]) -> tuple[str, ...]:
        for argument in arguments:
            name = argument.partition("=")[0]
            if name not in _ARGUMENTS:
                raise ValueError(f"the engine does not hand {name!r} on; it knows: {', '.join(sorted(_ARGUMENTS))}")
        return arguments
