from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.read.http_payload import PayloadError, decode_body, read_head

HTML = b"<html><body><p>" + b"some words, again and again. " * 40 + b"</p></html>"


def chunked(data, size=100, end=b"0\r\n\r\n"):
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x;note=1\r\n" % len(part) + part + b"\r\n" for part in parts) + end


def decode(headers, body, *, max_payload=1 << 20, whole=True):
    block = memoryview(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n\r\n" + body)
    head = read_head(block)
    assert head is not None
    return decode_body(block, head, max_payload=max_payload, whole=whole)


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"X: y", HTML),
        (b"Content-Encoding: gzip", gzip.compress(HTML, mtime=0)),
        (b"content-encoding: x-gzip", gzip.compress(HTML, mtime=0)),
        (b"Content-Encoding: deflate", zlib.compress(HTML)),
        (b"Content-Encoding: deflate", raw_deflate(HTML)),
        (b"Content-Encoding: br", brotli.compress(HTML)),
        (b"Content-Encoding: zstd", zstandard.compress(HTML)),
        (b"Content-Encoding: identity", HTML),
        (b"Transfer-Encoding: chunked", chunked(HTML)),
        (b"Transfer-Encoding: chunked", chunked(HTML, end=b"0\r\nTrailer: x\r\n\r\n")),
        (b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip", chunked(gzip.compress(HTML, mtime=0))),
        (b"Content-Encoding: gzip, br", brotli.compress(gzip.compress(HTML, mtime=0))),
        (b"Transfer-Encoding: gzip, chunked", chunked(gzip.compress(HTML, mtime=0))),
    ],
)
def test_codings_are_undone(headers, body):
    assert decode(headers, body) == (HTML, None)


@pytest.mark.parametrize("name", [b"gzip", b"br", b"zstd", b"deflate"])
def test_a_label_that_the_bytes_contradict_is_ignored_and_noted(name):
    body = decode(b"Content-Encoding: " + name, HTML)
    assert body == (HTML, f"labelled {name.decode()}, is not")
    assert decode(b"Transfer-Encoding: chunked", HTML) == (HTML, "labelled chunked, is not")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Encoding: gzip", gzip.compress(HTML, mtime=0)[:-30]),
        (b"Content-Encoding: gzip", b"\x1f\x8b\x08garbage"),
        (b"Content-Encoding: br", b"\xff\xff\xffgarbage"),
        (b"Content-Encoding: zstd", zstandard.compress(HTML)[:-3] + b"xyz"),
        (b"Content-Encoding: gibberish", HTML),
        (b"Transfer-Encoding: chunked", chunked(HTML)[:300]),
        (b"Transfer-Encoding: chunked", chunked(HTML, end=b"zz\r\n")),
    ],
)
def test_a_coding_that_breaks_is_a_decode_failure(headers, body):
    with pytest.raises(PayloadError) as failure:
        decode(headers, body)
    assert failure.value.reason == "quarantine/decode_failure"


@pytest.mark.parametrize(
    ("headers", "pack"),
    [
        (b"Content-Encoding: gzip", gzip.compress),
        (b"Content-Encoding: br", brotli.compress),
        (b"Transfer-Encoding: chunked", chunked),
    ],
)
def test_a_capture_that_was_truncated_keeps_what_came_before_the_cut(headers, pack):
    text = b"<p>" + b" ".join(b"%d" % (n * n) for n in range(5000))
    packed = pack(text)
    body = decode(headers, packed[: len(packed) // 2], whole=False)
    assert text.startswith(body.data)
    assert len(body.data) > len(text) // 5
    assert body.note


@pytest.mark.parametrize(
    "pack", [gzip.compress, brotli.compress, zstandard.compress, lambda d: gzip.compress(gzip.compress(d))]
)
def test_bombs_are_stopped_at_the_limit(pack):
    name = {brotli.compress: b"br", zstandard.compress: b"zstd"}.get(pack, b"gzip")
    bomb = pack(bytes(40_000_000))
    if name == b"gzip" and len(bomb) < 5000:
        name = b"gzip, gzip"
    with pytest.raises(PayloadError) as failure:
        decode(b"Content-Encoding: " + name, bomb, max_payload=30_000_000)
    assert failure.value.reason == "quarantine/payload_bomb"


def test_the_payload_limit_itself_is_allowed():
    packed = gzip.compress(HTML, mtime=0)
    assert decode(b"Content-Encoding: gzip", packed, max_payload=len(HTML)).data == HTML
    with pytest.raises(PayloadError):
        decode(b"Content-Encoding: gzip", packed, max_payload=len(HTML) - 1)


def test_a_head_without_end_has_no_body():
    head = read_head(memoryview(b"HTTP/1.0 200 OK\nContent-Type: text/html"))
    assert head is not None
    assert (head.status, head.content_type, head.size) == (200, "text/html", 39)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    headers=st.lists(
        st.sampled_from([b"Content-Encoding: gzip", b"Content-Encoding: br, deflate", b"Transfer-Encoding: chunked"]),
        max_size=3,
    ),
    start=st.sampled_from(
        [b"", b"\x1f\x8b\x08", b"5\r\nhello\r\n", b"ffffffffff\r\n", gzip.compress(HTML, mtime=0)[:50]]
    ),
    rest=st.binary(max_size=200),
    whole=st.booleans(),
)
def test_any_bytes_decode_or_fail_with_a_reason(headers, start, rest, whole):
    try:
        decode(b"\r\n".join([b"A: b", *headers]), start + rest, whole=whole)
    except PayloadError as error:
        assert error.reason.startswith("quarantine/")
