"""Who may read responses from another origin (http.md §7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.http.cors import DATA_EXPOSED, METADATA_EXPOSED, CorsPolicy, Headers

ORIGIN = "https://a.example"
ALLOWED_HEADERS = (
    "Range, If-Range, If-None-Match, If-Modified-Since, Authorization, Content-Type, If-Match, "
    "If-Unmodified-Since, X-Accept-Encoding, X-Request-Id, X-Aero-User-Id"
)
DAY = 86400
ASKED = "Access-Control-Request-Method, Access-Control-Request-Headers"

ANYBODY = {
    "no origins": (),
    "star": ("*",),
    "star first": ("*", ORIGIN),
    "star last": (ORIGIN, "*"),
}

FRIENDS = {
    "as configured": ((ORIGIN,), ORIGIN),
    "second of two": (("https://b.example", ORIGIN), ORIGIN),
    "request in capitals": ((ORIGIN,), "HTTPS://A.Example"),
    "configured in capitals": (("HTTPS://A.EXAMPLE",), ORIGIN),
    "request with a slash": ((ORIGIN,), f"{ORIGIN}/"),
    "configured with a slash": ((f"{ORIGIN}/",), ORIGIN),
    "port": ((f"{ORIGIN}:8443",), f"{ORIGIN}:8443"),
    "null, configured": (("null",), "null"),
}

STRANGERS = {
    "no origin": None,
    "empty": "",
    "other host": "https://b.example",
    "other scheme": "http://a.example",
    "other port": f"{ORIGIN}:8443",
    "subdomain": "https://x.a.example",
    "longer host": f"{ORIGIN}.evil.example",
    "path": f"{ORIGIN}/x",
    "two slashes": f"{ORIGIN}//",
    "null": "null",
    "star": "*",
    "two origins": f"{ORIGIN} {ORIGIN}",
}


def access_control(headers: Headers) -> list[str]:
    return [name for name, _ in headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("origins", ANYBODY.values(), ids=ANYBODY)
@pytest.mark.parametrize("origin", [None, ORIGIN, "null"])
def test_anybody(origins: tuple[str, ...], origin: str | None) -> None:
    """Without an allowlist, or with `*` in it, anybody may read, without credentials and without `Vary`."""
    policy = CorsPolicy(origins, DAY)
    assert policy.any_origin
    assert policy.headers(origin) == (("Access-Control-Allow-Origin", "*"),)
    assert dict(policy.headers(origin, "ETag")) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "ETag",
    }


@pytest.mark.parametrize(("origins", "origin"), FRIENDS.values(), ids=FRIENDS)
def test_allowed(origins: tuple[str, ...], origin: str) -> None:
    """An origin on the list gets its own spelling echoed, credentials allowed, and `Vary: Origin`."""
    policy = CorsPolicy(origins, DAY)
    expected = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}
    assert not policy.any_origin
    assert dict(policy.headers(origin)) == expected
    assert dict(policy.headers(origin, "ETag")) == expected | {"Access-Control-Expose-Headers": "ETag"}


@pytest.mark.parametrize("origin", STRANGERS.values(), ids=STRANGERS)
def test_stranger(origin: str | None) -> None:
    """An origin that is not on the list gets `Vary` and no access-control header at all, preflight or not."""
    policy = CorsPolicy((ORIGIN,), DAY)
    assert policy.headers(origin) == (("Vary", "Origin"),)
    assert policy.headers(origin, DATA_EXPOSED) == (("Vary", "Origin"),)
    assert policy.preflight(origin) == (("Vary", f"Origin, {ASKED}"),)


@pytest.mark.parametrize("origins", ANYBODY.values(), ids=ANYBODY)
def test_preflight_of_anybody(origins: tuple[str, ...]) -> None:
    """A preflight is told methods, headers and age, and varies by what it asked for."""
    assert dict(CorsPolicy(origins, 600).preflight(ORIGIN)) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": "600",
        "Vary": ASKED,
    }


def test_preflight_of_an_allowed_origin() -> None:
    """With an allowlist a preflight's answer varies by origin too and allows credentials."""
    assert dict(CorsPolicy((ORIGIN,), 0).preflight(ORIGIN)) == {
        "Access-Control-Allow-Origin": ORIGIN,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": "0",
        "Vary": f"Origin, {ASKED}",
    }


def test_exposed() -> None:
    """Each plane exposes what http.md lists."""
    assert METADATA_EXPOSED == "ETag, Last-Modified, Cache-Control"
    assert DATA_EXPOSED == (
        "ETag, Last-Modified, Cache-Control, Content-Range, Accept-Ranges, Content-Length, Content-Encoding, "
        "Retry-After, X-Request-Id"
    )


@given(
    origins=st.lists(st.sampled_from([ORIGIN, "https://b.example/", "null"]) | st.text(max_size=5), min_size=1),
    origin=st.none() | st.sampled_from([ORIGIN, "HTTPS://B.example", "NULL"]) | st.text(max_size=5),
)
def test_no_header_twice(origins: list[str], origin: str | None) -> None:
    """No header comes twice, and credentials are never allowed together with `*`."""
    policy = CorsPolicy(tuple(origins), DAY)
    for headers in (policy.headers(origin, DATA_EXPOSED), policy.preflight(origin)):
        names = [name for name, _ in headers]
        assert len(names) == len(set(names))
        if policy.any_origin:
            assert "Access-Control-Allow-Credentials" not in names
        elif access_control(headers):
            assert dict(headers)["Access-Control-Allow-Origin"] == origin
