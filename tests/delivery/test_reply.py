"""Replies as values, and the errors and preflights of each plane."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.policies import cors_with, policy_with

from aero_storage.delivery.reply import Reply, error, json_body, preflight
from aero_storage.http.cors import CorsPolicy
from aero_storage.http.ranges import Segment

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask

POLICY = policy_with(cross_origin_resource_policy="cross-origin")
STATUSES = (400, 401, 403, 404, 405, 412, 413, 414, 431, 500, 503)
DATA_PATHS = (
    "/v1/images/x",
    "/v1/images/x/data",
    "/v1/images/x/chunked/manifest.json",
    "/v1/images/x/chunked/v1/chunks/0.bin",
    "/v1/images/x/nowhere/at/all",
)
METADATA_PATHS = ("/v1/images", "/v1/images/x/meta")
OTHER_PATHS = ("/healthz", "/metrics", "//", "/nowhere", "//v1/images/x")
ANYBODY = ("Access-Control-Allow-Origin", "*")


@pytest.mark.parametrize(
    ("reply", "length"),
    [
        (Reply(200, body=b"12345"), 5),
        (Reply(200), 0),
        (Reply(200, segment=Segment(0, 0)), 0),
        (Reply(206, segment=Segment(7, 20 * 2**30)), 20 * 2**30),
        (Reply(404), 0),
        (Reply(204), None),
        (Reply(304), None),
    ],
)
def test_length(reply: Reply, length: int | None) -> None:
    """A reply's length is that of its body or segment; 204 and 304 have none."""
    assert reply.length == length


@pytest.mark.parametrize("path", DATA_PATHS)
@pytest.mark.parametrize("status", [*STATUSES, 416, 429])
def test_data_plane_errors(ask: Ask, path: str, status: int) -> None:
    """Errors of the data plane are empty, never kept or transformed, and carry CORS and CORP."""
    reply = error(ask(path), POLICY, status, reason=None)
    headers = dict(reply.headers)
    assert (reply.status, reply.body, reply.segment, reply.length) == (status, b"", None, 0)
    assert headers["Cache-Control"] == "no-store, no-transform"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert ANYBODY in reply.headers
    assert "Retry-After" in headers["Access-Control-Expose-Headers"]
    assert "Content-Type" not in headers


@pytest.mark.parametrize(
    ("path", "announced"),
    [("/v1/images/x", True), ("/v1/images/x/data", True), *((p, False) for p in DATA_PATHS[2:])],
)
@pytest.mark.parametrize("status", [404, 405, 413, 416, 429, 500])
def test_accept_ranges_of_errors(ask: Ask, path: str, status: int, *, announced: bool) -> None:
    """Errors of the bytes routes say that ranges are accepted, others do not."""
    assert (("Accept-Ranges", "bytes") in error(ask(path), POLICY, status, reason=None).headers) is announced


@pytest.mark.parametrize("path", METADATA_PATHS)
@pytest.mark.parametrize("status", STATUSES)
def test_metadata_plane_errors(ask: Ask, path: str, status: int) -> None:
    """Errors of the metadata plane are JSON with a reason, never kept, with CORS and without CORP."""
    reply = error(ask(path), POLICY, status, reason=None)
    headers = dict(reply.headers)
    document = json.loads(reply.body)
    assert list(document) == ["error"]
    assert isinstance(document["error"], str)
    assert document["error"]
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("application/json", "no-store")
    assert headers["Access-Control-Expose-Headers"] == "ETag, Last-Modified, Cache-Control"
    assert ANYBODY in reply.headers
    assert "Cross-Origin-Resource-Policy" not in headers


@pytest.mark.parametrize("path", OTHER_PATHS)
@pytest.mark.parametrize("status", STATUSES)
def test_other_errors(ask: Ask, path: str, status: int) -> None:
    """Errors of all other paths are a short text, never kept, with CORS and without CORP."""
    reply = error(ask(path), POLICY, status, reason=None)
    headers = dict(reply.headers)
    assert reply.body.endswith(b"\n")
    assert len(reply.body) < 100
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("text/plain; charset=utf-8", "no-store")
    assert ANYBODY in reply.headers
    assert not {"Access-Control-Expose-Headers", "Cross-Origin-Resource-Policy"} & set(headers)


@pytest.mark.parametrize("path", [*METADATA_PATHS, *OTHER_PATHS, *DATA_PATHS])
@pytest.mark.parametrize("status", STATUSES)
def test_errors_are_small_and_echo_nothing(ask: Ask, path: str, status: int) -> None:
    """An error's body is at most 1 KiB, and says nothing of what the request said."""
    noisy = {"Authorization": "Bearer LOUD", "Cookie": "LOUD", "X-Request-Id": "LOUD", "Range": "LOUD"}
    reply = error(ask(path + "LOUD" * 5000, noisy, method="LOUD"), POLICY, status, reason=None)
    assert len(reply.body) <= 1024
    assert b"LOUD" not in reply.body
    assert "LOUD" not in repr(reply.headers)


@pytest.mark.parametrize("path", [*DATA_PATHS, *METADATA_PATHS, *OTHER_PATHS])
def test_extra_headers(ask: Ask, path: str) -> None:
    """What an error needs beyond its plane's headers is added to them, and each name is there once."""
    reply = error(ask(path), POLICY, 405, ("Allow", "GET"), reason=None)
    assert ("Allow", "GET") in reply.headers
    assert len({key for key, _ in reply.headers}) == len(reply.headers)


@pytest.mark.parametrize("path", ["/v1/images/x", "/v1/images", "/healthz", "/nowhere"])
def test_errors_for_other_origins(ask: Ask, path: str) -> None:
    """With a list of origins, errors carry `Vary: Origin` for all, and CORS headers for those listed alone."""
    policy = policy_with(cors=cors_with("https://a.example"))
    ours = dict(error(ask(path, {"Origin": "https://a.example"}), policy, 404, reason=None).headers)
    foreign = dict(error(ask(path, {"Origin": "https://b.example"}), policy, 404, reason=None).headers)
    assert ours["Vary"] == foreign["Vary"] == "Origin"
    assert ours["Access-Control-Allow-Origin"] == "https://a.example"
    assert not any(key.startswith("Access-Control") for key in foreign)


@pytest.mark.parametrize(
    ("path", "corp"),
    [
        ("/v1/images/x", True),
        ("/v1/images/..", True),
        ("/v1/images", False),
        ("/v1/images/x/meta", False),
        ("/healthz", False),
    ],
)
def test_preflight(ask: Ask, path: str, *, corp: bool) -> None:
    """A preflight is an empty 204 with what http.md §7 lists; CORP comes with the data plane."""
    reply = preflight(ask(path, method="OPTIONS"), policy_with(cors=CorsPolicy((), 600)))
    headers = dict(reply.headers)
    assert (reply.status, reply.body, reply.length) == (204, b"", None)
    assert headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert headers["Access-Control-Allow-Headers"] == (
        "Range, If-Range, If-None-Match, If-Modified-Since, Authorization, Content-Type, If-Match, "
        "If-Unmodified-Since, X-Accept-Encoding, X-Request-Id, X-Aero-User-Id"
    )
    assert headers["Access-Control-Max-Age"] == "600"
    assert headers["Vary"] == "Access-Control-Request-Method, Access-Control-Request-Headers"
    assert ("Cross-Origin-Resource-Policy" in headers) is corp


def test_preflight_from_elsewhere(ask: Ask) -> None:
    """A preflight from an origin that is not listed is a 204 that allows nothing."""
    policy = policy_with(cors=cors_with("https://a.example"))
    reply = preflight(ask("/v1/images", {"Origin": "https://b.example"}, method="OPTIONS"), policy)
    assert reply.headers == (("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),)


def test_json_body() -> None:
    """JSON is compact UTF-8."""
    assert json_body({"a": [1, None], "ü": "€"}) == '{"a":[1,null],"ü":"€"}'.encode()
