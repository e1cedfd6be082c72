"""What is taken from a request, and what of it may be shown in logs and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.delivery.facts import Facts, Names, make_request_id, request_id_of
from aero_storage.http.identifiers import is_image_id

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask

LONG = "a" * 128


def test_headers(ask: Ask) -> None:
    """Every header that a decision hangs on arrives as it came; what is absent is None."""
    headers = {
        "If-Match": '"a"',
        "If-None-Match": '"b"',
        "If-Modified-Since": "c",
        "If-Unmodified-Since": "d",
        "If-Range": "e",
        "Origin": "https://o.example",
        "Authorization": "Bearer t",
    }
    facts = ask(headers=headers)
    given_conditions = facts.preconditions
    assert (given_conditions.if_match, given_conditions.if_none_match) == ('"a"', '"b"')
    assert (given_conditions.if_modified_since, given_conditions.if_unmodified_since) == ("c", "d")
    assert given_conditions.if_range == "e"
    assert (facts.origin, facts.authorization, facts.credentials) == ("https://o.example", "Bearer t", True)
    assert given_conditions.now == 1_700_000_100.0
    bare = ask()
    assert (bare.range, bare.origin, bare.authorization, bare.user_id) == (None, None, None, None)
    assert bare.preconditions.if_match is bare.preconditions.if_range is None


@pytest.mark.parametrize(
    ("headers", "credentials"),
    [
        ({}, False),
        ({"Authorization": "Basic x"}, True),
        ({"Cookie": "a=b"}, True),
        ({"Authorization": ""}, True),
        ({"Cookie": ""}, True),
        ({"X-Aero-User-Id": "me"}, False),
    ],
)
def test_credentials(ask: Ask, headers: dict[str, str], *, credentials: bool) -> None:
    """A request has credentials if it has an Authorization or a Cookie, whatever is in it."""
    assert ask(headers=headers).credentials is credentials


@pytest.mark.parametrize(
    ("query", "credentials"),
    [
        ("lease=x", True),
        ("lease=", True),
        ("lease", True),
        ("a=1&lease=x", True),
        ("LEASE=x", False),
        ("xlease=x", False),
        ("a=lease=x", False),
        ("", False),
    ],
)
def test_credentials_in_a_query(ask: Ask, query: str, *, credentials: bool) -> None:
    """A `lease` in the query is one too, whatever its value."""
    assert ask(query=query).credentials is credentials


@pytest.mark.parametrize("text", ["x", "abc-123", "!~", '"quoted"', "a" * 128, "a,b"])
def test_usable_ids(ask: Ask, text: str) -> None:
    """A request id or user id of 1 to 128 visible ASCII characters is kept."""
    assert ask(headers={"X-Aero-User-Id": text}).user_id == text
    assert request_id_of(text) == text


@pytest.mark.parametrize(
    "text", ["", " ", "a b", " a", "a ", "a, b", "a\tb", "a\n", "\x7f", "a\x00", "é", "\xff", "x" * 129, "x" * 9000]
)
def test_unusable_ids(ask: Ask, text: str) -> None:
    """Any other request id is replaced by a fresh UUID, any other user id is left out."""
    one, other = request_id_of(text), request_id_of(text)
    assert str(UUID(one)) == one
    assert one != other
    assert ask(headers={"X-Aero-User-Id": text}).user_id is None


def test_absent_ids() -> None:
    """A request without an id gets a UUID of version 4 of its own."""
    assert UUID(request_id_of(None)) != UUID(request_id_of(None))
    assert UUID(request_id_of(None)).version == 4


@pytest.mark.parametrize(
    ("segments", "names"),
    [
        ({}, Names()),
        ({"image_id": b"disk.img"}, Names("disk.img")),
        ({"image_id": b"%64isk.img"}, Names("disk.img")),
        ({"image_id": LONG.encode()}, Names(LONG)),
        ({"image_id": b"%61" * 128}, Names(LONG)),
        ({"image_id": b"x", "version": b"v1", "chunk_name": b"00000000.bin"}, Names("x", "v1", "00000000.bin")),
        ({"image_id": b"x", "version": b"chunks"}, Names("x", broken=frozenset({"version"}))),
        ({"image_id": b"x", "version": b".."}, Names("x", broken=frozenset({"version"}))),
        ({"image_id": b"x", "chunk_name": b"0.BIN"}, Names("x", broken=frozenset({"chunk_name"}))),
        ({"image_id": b"..", "version": b"v1"}, Names(None, "v1", broken=frozenset({"image_id"}))),
        ({"image_id": b"%2e%2e"}, Names(broken=frozenset({"image_id"}))),
        ({"image_id": b""}, Names(broken=frozenset({"image_id"}))),
        ({"image_id": b"a%2Fmeta"}, Names(broken=frozenset({"image_id"}))),
        ({"image_id": b"a%252Fb"}, Names(broken=frozenset({"image_id"}))),
        ({"image_id": b"%00"}, Names(broken=frozenset({"image_id"}))),
        ({"image_id": b"%zz"}, Names(broken=frozenset({"image_id"}))),
        ({"image_id": b"a" * 129}, Names(broken=frozenset({"image_id"}))),
        ({"image_id": b"%61" * 129}, Names(broken=frozenset({"image_id"}))),
        ({"image_id": b"..", "version": b".."}, Names(broken=frozenset({"image_id", "version"}))),
        ({"image_id": b"chunks"}, Names("chunks")),
    ],
)
def test_names(segments: dict[str, bytes], names: Names) -> None:
    """Names are decoded once and checked; one that breaks its rule is None and makes the request invalid."""
    assert Names.parse(segments) == names
    assert names.valid is (not names.broken)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"])
def test_standard_methods(ask: Ask, method: str) -> None:
    """The standard methods are labels by themselves."""
    assert ask(method=method).method_label == method


@pytest.mark.parametrize("method", ["get", "PROPFIND", "QUERY", "G\xc9T", "", "X" * 5000])
def test_other_methods(ask: Ask, method: str) -> None:
    """No other method becomes a label: there is no end to them."""
    assert ask(method=method).method_label == "<other>"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/healthz", "/healthz"),
        ("/nowhere", "/nowhere"),
        ("/v1/images", "/v1/images"),
        ("/v1/images/disk.img", "/v1/images/disk.img"),
        ("/v1/images/%64isk.img", "/v1/images/disk.img"),
        ("/v1/images/disk.img/data", "/v1/images/disk.img/data"),
        ("/v1/images/x/chunked/v1/chunks/0.bin", "/v1/images/x/chunked/v1/chunks/0.bin"),
        ("/v1/images/", "/v1/images/<invalid>"),
        ("/v1/images/..", "/v1/images/<invalid>"),
        ("/v1/images/%2e%2e", "/v1/images/<invalid>"),
        ("/v1/images/a%2Fmeta", "/v1/images/<invalid>"),
        ("/v1/images/%zz/meta", "/v1/images/<invalid>/meta"),
        ("/v1/images/" + "a" * 129, "/v1/images/<invalid>"),
        ("/v1/images/" + "a" * 5000 + "/data", "/v1/images/<invalid>/data"),
        ("/v1/images/" + LONG + "/data", "/v1/images/" + LONG + "/data"),
        ("/v1/images/%0a/unknown", "/v1/images/<invalid>/unknown"),
    ],
)
def test_logged_path(ask: Ask, path: str, shown: str) -> None:
    """The path is logged with a valid image id as it is, decoded, and an invalid one taken out."""
    assert ask(path).logged_path == shown


@pytest.mark.parametrize(
    "path",
    [
        "/v1/images/x/chunked/SECRET%20/manifest.json",
        "/v1/images/x/chunked/v1/chunks/SECRET",
        "/v1/images/x/chunked/chunks/SECRET.bin",
        "/v1/images/SECRET%00/chunked/v1/manifest",
        "/v1/images/SECRET%00/chunked/SECRET%00/manifest",
        "/v1/images/SECRET%00/chunked/SECRET%00/chunks/SECRET",
    ],
)
def test_invalid_names_are_not_logged(ask: Ask, path: str) -> None:
    """Of names that break their rule, image id, version or chunk name, the log shows nothing."""
    shown = ask(path).logged_path
    assert "SECRET" not in shown
    assert "<invalid>" in shown


@pytest.mark.parametrize("path", ["/" + "x" * 5000, "/v1/images/x/" + "y" * 5000, "/v1/images/" + LONG + "/" + LONG])
def test_long_paths_are_cut(ask: Ask, path: str) -> None:
    """Of a path 256 characters are logged at most."""
    assert ask(path).logged_path == path[:256]


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=400))
def test_no_invalid_id_in_any_logged_path(rest: str) -> None:
    """Whatever follows /v1/images/, a first segment that is shown is a valid id."""
    shown = Facts("GET", f"/v1/images/{rest}").logged_path
    first = shown.removeprefix("/v1/images/").partition("/")[0]
    assert len(shown) <= 256
    assert first == "<invalid>" or is_image_id(first)


def test_request_ids_of_ours() -> None:
    """They are UUIDs of version 4, and no two are alike."""
    made = [make_request_id() for _ in range(2000)]
    assert len(set(made)) == len(made)
    assert {(str(UUID(text)) == text, UUID(text).version, UUID(text).variant) for text in made} == {
        (True, 4, RFC_4122)
    }
