"""What a manifest with a ``tokenize`` block may say."""

from __future__ import annotations

from pathlib import Path

from pydantic import ByteSize, Field, model_validator

from corpus.settings import Settings
from pipeline.manifest import ExecutorConfig, OutputConfig
from training.data.files import Verify
from training.data.packing import Packing
from training.data.text import TextSource, Value


class DomainSource(TextSource):
    """The text of one domain, and which of its documents are held out."""

    held_out_where: dict[str, Value] = {}
    """Hold out the rows whose columns have these values, e.g. ``{split: validation}``; instead of ``held_out``."""


class TrainedTokenizer(Settings):
    """A tokenizer that is trained from the text."""

    vocab: int = Field(default=32768, ge=300, le=1 << 20)
    """Number of token ids. Up to 65,536 a token takes two bytes in the shards."""
    sample_bytes: ByteSize = ByteSize(64 << 20)
    """Text to learn from, taken from all domains alike."""


class TokenizerSource(Settings):
    """Where the tokenizer comes from. Default: a byte-level BPE trained from the text."""

    path: Path | None = None
    """Local Hugging Face folder with ``tokenizer.json``."""
    end: str | None = None
    """The token that ends a document; default: what the folder declares as ``eos_token``."""
    train: TrainedTokenizer | None = None
    """Train one."""

    @model_validator(mode="after")
    def _one_of_both(self) -> TokenizerSource:
        if self.path is not None and self.train is not None:
            raise ValueError("name a path, or train, not both")
        return self


class TokenizeConfig(Settings):
    """What becomes of the text."""

    domains: dict[str, DomainSource] = Field(min_length=1)
    """The domains and their text. Mixtures of a trainer are over these names."""
    sequence_length: int = Field(default=2048, ge=8, le=1 << 20)
    """Tokens that a model sees at once; a row holds one more, so that every input has its label."""
    packing: Packing = "concat"
    """concat: documents one after the other, no padding. best_fit: documents that fit are never cut."""
    tokenizer: TokenizerSource = TokenizerSource()
    """Text to tokens."""
    held_out: float = Field(default=0.005, ge=0, lt=0.5)
    """Share of the documents that is held out for measuring losses, chosen by a hash of the id."""
    verify: Verify = "full"
    """Compare text shards with their recorded sha256 (full) or only their sizes before starting."""


class TokenizeManifest(Settings):
    """A run that turns text into token shards."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Name of the token corpus."""
    tokenize: TokenizeConfig
    """What is read, and what it becomes."""
    output: OutputConfig
    """Where the shards go; ``shard_bytes`` and ``row_group_rows`` follow from the text shards and the row length."""
    executor: ExecutorConfig = ExecutorConfig()
    """Who does it."""
