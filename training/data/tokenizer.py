"""Text to token ids: any local Hugging Face tokenizer, or a byte-level BPE trained from the corpus.

Only ``tokenizer.json`` is read (plain data, no code) and beside it the name of the end-of-document token. A document is
its tokens followed by that token. Encoding runs in Rust without Python's lock, so threads share one tokenizer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from corpus.errors import TrainingError

END = "<|endoftext|>"
"""The end-of-document token of tokenizers trained here; its id is 0."""
FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"
_USUAL_ENDS = (END, "</s>", "<|end_of_text|>", "<eos>", "[SEP]")


@dataclass(frozen=True)
class Tokenizer:
    """An open tokenizer. ``digest`` is the sha256 of its file: part of every state that depends on it."""

    encoder: HuggingFaceTokenizer
    data: bytes
    vocab: int
    """Number of ids: the rows of an embedding."""
    end: int
    """Id of the end-of-document token, which is also the padding."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        """Token ids of all texts, one after the other, each followed by the end token; and where each starts [n + 1].

        An empty text gives no tokens at all.
        """
        encoded = self.encoder.encode_batch_fast(list(texts), add_special_tokens=False)
        dtype = np.uint16 if self.vocab <= 1 << 16 else np.uint32
        parts = [np.array(found.ids, dtype) for found in encoded]
        ended = np.fromiter((len(part) + 1 if len(part) else 0 for part in parts), np.int64, len(parts))
        offsets = np.concatenate([np.zeros(1, np.int64), ended.cumsum()])
        flat = np.full(int(offsets[-1]), self.end, dtype)
        for part, start in zip(parts, offsets, strict=False):
            flat[start : start + len(part)] = part
        return flat, offsets

    def save(self, folder: Path) -> None:
        """Write the files that Hugging Face libraries look for."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_bytes(self.data)
        (folder / CONFIG).write_bytes(tokenizer_config(self))


def tokenizer_config(tokenizer: Tokenizer) -> bytes:
    """What ``transformers.AutoTokenizer`` needs to know beside ``tokenizer.json``."""
    end = tokenizer.encoder.id_to_token(tokenizer.end)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "pad_token": end}
    return json.dumps(config, indent=1, sort_keys=True).encode() + b"\n"


def open_tokenizer(path: Path, end_token: str | None = None) -> Tokenizer:
    """Open a folder with ``tokenizer.json`` (or that file). ``end_token`` overrides what the folder declares."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        fix = "name a folder with tokenizer.json; slow tokenizers are converted by transformers' save_pretrained"
        raise TrainingError("no tokenizer here", where=str(path), fix=fix)
    return read_tokenizer(file.read_bytes(), end_token or _declared_end(file.with_name(CONFIG)), where=str(file))


def read_tokenizer(data: bytes, end_token: str | None, *, where: str) -> Tokenizer:
    """A tokenizer from the bytes of ``tokenizer.json``. Raises ``TrainingError`` where it cannot be used."""
    try:
        encoder = HuggingFaceTokenizer.from_str(data.decode())
    except Exception as error:  # the library raises plain Exception
        raise TrainingError(f"this is no tokenizer: {error}", where=where) from None
    encoder.no_truncation()
    encoder.no_padding()
    encoder.encode_special_tokens = True  # a page that spells out a special token must not end its own document
    known = [token for token in (end_token,) if token] or _USUAL_ENDS
    end = next((number for token in known if (number := encoder.token_to_id(token)) is not None), None)
    if end is None:
        raise TrainingError(
            f"the tokenizer has no end-of-document token ({', '.join(known)})",
            where=where,
            fix="name one of its special tokens as tokenizer.end",
        )
    ids = encoder.get_vocab(with_added_tokens=True).values()
    return Tokenizer(encoder, data, max(ids) + 1, end)


def _declared_end(config: Path) -> str | None:
    if not config.is_file():
        return None
    try:
        declared: Any = json.loads(config.read_text("utf-8")).get("eos_token")
    except (ValueError, AttributeError) as error:
        raise TrainingError(f"{CONFIG} cannot be read: {error}", where=str(config)) from None
    return declared.get("content") if isinstance(declared, dict) else declared


def train_bpe(texts: Iterable[str], vocab: int) -> Tokenizer:
    """A byte-level BPE of ``vocab`` ids. Every text can be encoded and decoded again. Equal texts, equal tokenizer."""
    encoder = HuggingFaceTokenizer(models.BPE())
    # digits alone, so that numbers are read the same way wherever they stand; then GPT-2's split into words
    encoder.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    encoder.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # a list: the library would run a generator in threads of its own, and a reader of files that is kept per thread
    # brings the process down when such a thread lets go of it
    encoder.train_from_iterator(list(texts), trainer)
    return read_tokenizer(encoder.to_str().encode(), END, where="a tokenizer trained here")
