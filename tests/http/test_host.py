"""What a `Host` and a request target may look like (http.md §1, RFC 9110 §7.2, RFC 9112 §3.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.http.host import MAX_TARGET_LENGTH, is_authority, origin_form

LABEL_63 = b"a" * 63
NAME_255 = b".".join([LABEL_63] * 4)

AUTHORITIES = {
    "name": b"example.com",
    "one label": b"localhost",
    "port": b"localhost:8080",
    "empty port": b"localhost:",
    "capitals": b"EXAMPLE.com",
    "root dot": b"example.com.",
    "underscore": b"aero_storage.internal",
    "IPv4": b"127.0.0.1:80",
    "IPv6": b"[::1]",
    "IPv6 and port": b"[2001:db8::1]:8080",
    "IPv4 in IPv6": b"[::ffff:127.0.0.1]",
    "escaped": b"caf%C3%A9.example",
    "longest label": LABEL_63,
    "longest name": NAME_255,
    "longest name and port": NAME_255 + b":65535",
}

NO_AUTHORITIES = {
    "empty": b"",
    "port alone": b":80",
    "dot": b".",
    "empty label": b"a..b",
    "leading dot": b".a",
    "label of 64": b"a" * 64,
    "label of 70": b"x." + b"a" * 70,
    "name of 256": NAME_255 + b".",
    "very long": b"a." * 5000,
    "blank": b"a b",
    "blank after": b"a ",
    "line feed after": b"a\n",
    "NUL": b"a\x00",
    "control": b"a\x1b",
    "beyond ASCII": b"caf\xe9",
    "slash": b"a/b",
    "question mark": b"a?",
    "fragment": b"a#",
    "user": b"user@a",
    "backslash": b"a\\b",
    "two hosts": b"a, b",
    "letters for a port": b"a:http",
    "long port": b"a:123456",
    "two ports": b"a:1:2",
    "IPv6 without brackets": b"::1",
    "open bracket": b"[::1",
    "closed bracket": b"::1]",
    "name in brackets": b"[localhost]",
    "empty brackets": b"[]",
    "text after brackets": b"[::1]x",
    "angle": b"<script>",
}

TARGETS = {
    "root": (b"/", b"/"),
    "path": (b"/v1/images/x", b"/v1/images/x"),
    "query": (b"/v1/images?x=http://y/", b"/v1/images?x=http://y/"),
    "path with two slashes": (b"//v1/images/x", b"//v1/images/x"),
    "raw bytes": (b"/\xff%zz", b"/\xff%zz"),
    "star": (b"*", b"*"),
    "absolute": (b"http://example.com/v1/images/x", b"/v1/images/x"),
    "absolute, https": (b"https://example.com/x", b"/x"),
    "absolute, capitals": (b"HTTP://EXAMPLE.COM/X", b"/X"),
    "absolute, port": (b"http://example.com:8080/x?y", b"/x?y"),
    "absolute, IPv6": (b"http://[::1]:80/x", b"/x"),
    "absolute, no path": (b"http://example.com", b"/"),
    "absolute, query alone": (b"http://example.com?x=/y", b"/?x=/y"),
    "absolute, two slashes": (b"http://example.com//x", b"//x"),
    "absolute, escapes kept": (b"http://example.com/a%2Fb", b"/a%2Fb"),
}

NO_TARGETS = {
    "empty": b"",
    "word": b"x",
    "authority form": b"example.com:443",
    "relative": b"v1/images",
    "other scheme": b"ftp://example.com/x",
    "no authority": b"http:///x",
    "no slashes": b"http:/x",
    "scheme alone": b"http://",
    "bad authority": b"http://a b/x",
    "user": b"http://user:password@example.com/x",
    "label too long": b"http://" + b"a" * 64 + b"/x",
    "blank before": b" /x",
    "two stars": b"**",
}


@pytest.mark.parametrize("value", AUTHORITIES.values(), ids=AUTHORITIES)
def test_authority(value: bytes) -> None:
    """A host name or address, with or without a port, is an authority."""
    assert is_authority(value)


@pytest.mark.parametrize("value", NO_AUTHORITIES.values(), ids=NO_AUTHORITIES)
def test_no_authority(value: bytes) -> None:
    """A host that is too long or cannot be digested is no authority."""
    assert not is_authority(value)


@pytest.mark.parametrize(("target", "expected"), TARGETS.values(), ids=TARGETS)
def test_target(target: bytes, expected: bytes) -> None:
    """An origin-form target is taken as it is, an absolute one without scheme and authority."""
    assert origin_form(target) == expected


@pytest.mark.parametrize("target", NO_TARGETS.values(), ids=NO_TARGETS)
def test_no_target(target: bytes) -> None:
    """A target of any other form is told as such."""
    assert origin_form(target) is None


def test_limit() -> None:
    """A target may be as long as RFC 9112 §3 asks for."""
    assert MAX_TARGET_LENGTH >= 8000


@given(path=st.binary(), host=st.sampled_from(list(AUTHORITIES.values())))
def test_absolute_form_is_origin_form(path: bytes, host: bytes) -> None:
    """An absolute target means the same as its path."""
    assert origin_form(b"http://" + host + b"/" + path) == b"/" + path == origin_form(b"/" + path)


@given(
    target=st.binary() | st.binary().map(b"http://".__add__), value=st.binary() | st.text("a.:[]0").map(str.encode)
)
def test_arbitrary_bytes(target: bytes, value: bytes) -> None:
    """No bytes make either function raise or yield anything but a path, and no control character passes."""
    path = origin_form(target)
    assert path is None or path == b"*" or path.startswith(b"/")
    if is_authority(value):
        assert value.isascii()
        assert value.decode().isprintable()
        assert not set(value) & set(b" /?#@\\")
