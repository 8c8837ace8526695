"""Writes WARC 1.0 files byte for byte the same each time: per-record gzip, per-record zstd, or plain.

Nothing comes from the clock or from chance: ids are hashes of the file's name and the record's number, gzip headers
carry no time. ``WarcFile`` also writes what a good writer never would: records that lie about their length, flipped
bits, bytes that belong to no record, a last member that is cut off.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections import Counter
from typing import BinaryIO, Literal, NamedTuple

from .transport import gzip_bytes

Compression = Literal["gzip", "zstd", "none"]
Damage = Literal["length_long", "length_short", "bit_flip", "cut"]


class Place(NamedTuple):
    """Where a record lies in its file, in stored bytes."""

    offset: int
    length: int


def digest(data: bytes) -> str:
    """SHA-1 in base 32, as WARC files carry it."""
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


class WarcFile:
    """One file, open for writing. ``written`` counts sound records by type, ``damaged`` the regions that are not."""

    def __init__(self, sink: BinaryIO, name: str, compression: Compression) -> None:
        self._sink = sink
        self._name = name
        self._compression = compression
        self._offset = 0
        self._number = 0
        self.written: Counter[str] = Counter()
        self.damaged = 0

    def record(
        self,
        kind: str,
        block: bytes,
        *,
        date: str,
        content_type: str,
        url: str | None = None,
        payload: bytes | None = None,
        more: tuple[str, ...] = (),
        damage: Damage | None = None,
    ) -> Place:
        """Write one record. ``payload`` is digested if given; ``damage`` spoils the record as it is written."""
        self._number += 1
        name = hashlib.sha256(f"{self._name}/{self._number}".encode()).digest()[:16]
        slack = {"length_long": 997, "length_short": -len(block) // 2}.get(damage or "", 0)
        lines = [
            "WARC/1.0",
            f"WARC-Type: {kind}",
            f"WARC-Record-ID: <urn:uuid:{uuid.UUID(bytes=name, version=4)}>",
            f"WARC-Date: {date}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(block) + slack}",
            *([f"WARC-Target-URI: {url}"] if url else []),
            *([f"WARC-Payload-Digest: {digest(payload)}"] if payload is not None else []),
            f"WARC-Block-Digest: {digest(block)}",
            *more,
        ]
        stored = self._pack("\r\n".join([*lines, "", ""]).encode() + block + b"\r\n\r\n")
        if damage is None:
            self.written[kind] += 1
        else:
            self.damaged += 1
        if damage == "bit_flip":
            half = len(stored) // 2
            stored = stored[:half] + bytes(byte ^ 0x55 for byte in stored[half : half + 24]) + stored[half + 24 :]
        return self._write(stored[: len(stored) * 2 // 3] if damage == "cut" else stored)

    def garbage(self, data: bytes) -> Place:
        """Write bytes that belong to no record."""
        self.damaged += 1
        return self._write(data)

    def _pack(self, record: bytes) -> bytes:
        if self._compression == "gzip":
            return gzip_bytes(record)
        if self._compression == "zstd":
            import zstandard

            return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(record)
        return record

    def _write(self, stored: bytes) -> Place:
        place = Place(self._offset, len(stored))
        self._sink.write(stored)
        self._offset += len(stored)
        return place
