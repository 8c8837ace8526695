"""Token files of datatrove (https://github.com/huggingface/datatrove), which nanotron reads too.

``.ds`` is the tokens of all documents, one after the other (2 or 4 bytes each, little-endian); ``.ds.index`` says after
how many tokens each document ends (8 bytes each); ``.ds.metadata`` names the tokenizer and counts the tokens. There is
one such file per domain, in the domain's folder:

    DatatroveFolderDataset("out/books", seq_len=L, token_size=2, recursive=False)

The format knows no rows: rows are undone, padding is left out, and the reader cuts anew every ``seq_len`` + 1 tokens.
Under the packing ``concat`` every document is whole again. Under ``best_fit`` documents longer than a row stay cut into
pieces, each of which counts as a document, as they do while training.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from training.data.rows import Rows
from training.data.source import Corpus, Domain
from training.export.target import Exported, domain_folder, fresh_folder

FILE = "00000_tokens.ds"


def to_datatrove(corpus: Corpus, folder: Path) -> Exported:
    """Write ``corpus`` as token files into ``folder``. Raises ``StorageError`` where the folder is not empty."""
    fresh_folder(folder, corpus)
    whole = corpus.packing == "concat"
    tokens = rows = 0
    for name, domain in corpus.domains.items():
        path = domain_folder(folder, name) / FILE
        written = _write_stream(path, _streams(domain, corpus.eos if whole else None))
        size = corpus.dtype.itemsize
        lines = [f"tokenizer.json|{size}", str(written), f"{written} tokens"]
        path.with_name(f"{FILE}.metadata").write_text("\n".join(lines), "utf-8")
        tokens, rows = tokens + written, rows + domain.rows
    return Exported(len(corpus.domains), rows, tokens)


def _write_stream(path: Path, parts: Iterator[tuple[NDArray[np.generic], NDArray[np.int64]]]) -> int:
    """Write tokens and ends as they come; returns the number of tokens."""
    written = 0
    with path.open("wb") as stream, path.with_name(f"{path.name}.index").open("wb") as index:
        for tokens, ends in parts:
            _append(stream, tokens, f"<u{tokens.itemsize}")
            _append(index, ends + written, "<u8")
            written += len(tokens)
    return written


def _append(file: IO[bytes], values: NDArray[np.generic], kind: str) -> None:
    file.write(values.astype(kind, copy=False).tobytes())


def _streams(domain: Domain, eos: int | None) -> Iterator[tuple[NDArray[np.generic], NDArray[np.int64]]]:
    """Block by block: the real tokens, and after how many of them documents end."""
    for block in domain.blocks:
        yield unpack(domain.read(block), eos)


def unpack(rows: Rows, eos: int | None) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    """Rows without padding, joined; and the ends of the documents in them.

    A piece of a document ends where the next one starts or its row does. With ``eos`` only pieces that end with this
    token end a document: what a row cuts goes on in the next one.
    """
    real = np.arange(rows.tokens.shape[1]) < rows.length[:, None]
    tokens = rows.tokens[real]
    before = rows.length.cumsum(dtype=np.int64) - rows.length
    pieces = np.repeat(before, np.diff(rows.offsets)) + rows.starts
    ends = np.append(pieces, len(tokens))[1:]
    return tokens, ends if eos is None else ends[tokens[ends - 1] == eos]
