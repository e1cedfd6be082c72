"""Announced bodies, in the ways in which two parsers disagree about them, and what hides in them."""

from __future__ import annotations

SMUGGLED = b"GET /v1/images/disk/meta HTTP/1.1\r\nHost: store.test\r\nX-Request-Id: smuggled\r\n\r\n"
"""If this is answered a body was taken for a request."""
_LENGTH = len(SMUGGLED)
SHAPES = tuple(
    b"GET /v1/images/disk HTTP/1.1\r\nHost: store.test\r\n" + fields + b"\r\n\r\n"
    for fields in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: ",
        b'Transfer-Encoding: "chunked"',
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding: ,chunked,",
        b"Transfer-Encoding: chunked\x0b",
        b"Transfer-Encoding:\tchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\r\n : chunked",
        b"transfer-encoding: CHUNKED\r\nTransfer-Encoding: identity",
        b"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: %d" % _LENGTH,
        b"Content-Length: %d" % _LENGTH,
        b"content-length:%d" % _LENGTH,
        b"Content-Length: %d\r\nContent-Length: 0" % _LENGTH,
        b"Content-Length: 0\r\nContent-Length: %d" % _LENGTH,
        b"Content-Length: +%d" % _LENGTH,
        b"Content-Length: %d, %d" % (_LENGTH, _LENGTH),
        b"Content-Length: 8_4",
        b"Content-Length: -1",
        b"Content-Length: 0x54",
        b"Content-Length: %d.0" % _LENGTH,
        b"Content-Length: \xb2",
        b"Content-Length: 18446744073709551700",
        b"Content-Length: " + b"9" * 5000,
        b"Content-Length : %d" % _LENGTH,
        b"Content-Length\x00: %d" % _LENGTH,
        b"Expect: 100-continue\r\nContent-Length: %d" % _LENGTH,
        b"Upgrade: h2c\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"X: y\x00\r\nTransfer-Encoding: chunked",
    )
)
