"""Heads of requests, and what is done to them. Pure, given the dice."""

from __future__ import annotations

import random
from collections.abc import Callable

_PATHS = (
    "/v1/images/disk",
    "/v1/images/disk/data",
    "/v1/images",
    "/v1/images/disk/meta",
    "/v1/images/none",
    "/v1/images/disk/chunked/manifest.json",
    "/v1/images/disk/chunked/v/chunks/00000000.bin",
    "/healthz",
    "/readyz",
    "/version",
)
_METHODS = ("GET", "GET", "GET", "HEAD", "OPTIONS")
_RANGES = (
    "bytes=0-99",
    "bytes=-5",
    "bytes=4000-",
    "bytes=1-0",
    "bytes=-0",
    "bytes=18446744073709551615-",
    "bytes=0-18446744073709551616",
    "bytes=" + "9" * 400 + "-",
    "bytes=0-0,2-2",
    "bytes=" + "0-0," * 1200,
    "bytes=-" + "9" * 5000,
    "bytes=" + " " * 9000 + "0-1",
    "octets=0-1",
    "bytes",
    "bytes=",
    "bytes=--1",
    "bytes=0x10-0x20",
    "bytes=\t0\t-\t1\t",
    "bytes=+1-+2",
    "bytes=1_0-2_0",
    "bytes=\xb2-\xb3",
    "BYTES=0-1",
)
_FIELDS = (
    'If-None-Match: "a", W/"b", *',
    'If-None-Match: "' + "a," * 300,
    "If-Modified-Since: Fri, 99 Feb 99999 25:61:61 GMT",
    "If-Range: Sun, 13 Sep 2020 12:26:40 GMT",
    'If-Range: W/"x"',
    "If-Match: *",
    "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    "Origin: http://a.test",
    "Origin: null",
    "X-Request-Id: " + "i" * 200,
    "X-Forwarded-For: 1.2.3.4, " + "::1, " * 50,
    "X-Aero-User-Id: \x7f\xff",
    "Authorization: Bearer x",
    "Cookie: a=b",
    "TE: trailers",
    "Accept-Encoding: gzip, br",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "Connection: close, keep-alive",
)
SMUGGLED = b"GET /v1/images/disk/meta HTTP/1.1\r\nHost: store.test\r\nX-Request-Id: smuggled\r\n\r\n"
"""If this is answered a body was taken for a request."""
SHAPES = tuple(
    b"GET /v1/images/disk HTTP/1.1\r\nHost: store.test\r\n" + fields + b"\r\n\r\n"
    for fields in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding:\tchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\r\n : chunked",
        b"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 84",
        b"Content-Length: 84\r\nContent-Length: 0",
        b"Content-Length: 0\r\nContent-Length: 84",
        b"Content-Length: +84",
        b"Content-Length: 84, 84",
        b"Content-Length: 8_4",
        b"Content-Length: -1",
        b"Content-Length: 0x54",
        b"Content-Length: 18446744073709551700",
        b"Content-Length : 84",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"X: y\x00\r\nTransfer-Encoding: chunked",
    )
)
"""Announced bodies, in all the ways in which two parties disagree about them."""


def valid(chance: random.Random) -> bytes:
    """A head that is well formed, whatever it says."""
    lines = [f"{chance.choice(_METHODS)} {chance.choice(_PATHS)} HTTP/1.1", "Host: store.test"]
    if chance.random() < 0.6:
        lines.append(f"Range: {chance.choice(_RANGES)}")
    lines += chance.sample(_FIELDS, chance.choice((0, 0, 1, 2)))
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def mutated(chance: random.Random) -> bytes:
    """A head to which something has been done, or nothing, or too much."""
    text = valid(chance)
    for _ in range(chance.choices((0, 1, 2, 4), (75, 17, 5, 3))[0]):
        text = chance.choice(_WAYS)(text, chance)
    return text


def _flip(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text))
    return text[:at] + bytes([text[at] ^ (1 << chance.randrange(8))]) + text[at + 1 :]


def _cut(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text))
    return text[:at] + text[at + chance.randint(1, 40) :] or b"\r\n"


def _double(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text))
    part = text[at : at + chance.randint(1, 80)]
    return text[:at] + part * chance.choice((2, 3, 20)) + text[at + len(part) :]


def _insert(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(_ODD) + text[at:]


def _line(text: bytes, chance: random.Random) -> bytes:
    """Put something odd where a value is: most of these leave a head that can be parsed."""
    odd = chance.choice(_ODD).replace(b"\r\n", b"")
    return text[:-2] + b"X-Odd: " + odd + b"\r\n\r\n"


def _segment(text: bytes, chance: random.Random) -> bytes:
    """Put something odd into the target."""
    start = text.find(b" ") + 1
    at = text.find(b" ", start)
    return text[:at] + chance.choice(_SEGMENTS) + text[at:] if start and at > 0 else text


_ODD = (
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\x80\xff",
    b"\t",
    b" " * 50,
    b"%00",
    b"%2e%2e%2f",
    b"A" * 3000,
    b"B" * 20_000,
    b"\r\nHost: other",
    b"\r\nHost:",
    b":",
    b"\r\n\tfolded",
    "\N{SNOWMAN}".encode(),
)
_SEGMENTS = (
    b"/../../etc/passwd",
    b"%2f..%2f..%2fetc%2fpasswd",
    b"/%00",
    b"/%",
    b"%zz",
    b"/%ff%fe",
    b"//",
    b"/" * 500,
    b"?" + b"q=1&" * 300,
    b"#f",
    b"/%252e%252e",
    b"\\..\\",
    b"x" * 200,
    b";a=b",
    b"/chunked/" + b"9" * 40 + b"/chunks/" + b"9" * 40 + b".bin",
)
_WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _cut,
    _double,
    _insert,
    _line,
    _line,
    _segment,
    _segment,
)
