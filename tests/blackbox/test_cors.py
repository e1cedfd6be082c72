"""http.md §7: CORS, Vary and CORP on every plane and status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running
from tests.blackbox.image_roots import DATA_EXPOSED, put_catalog, small_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields

APP = "https://app.test"
META_EXPOSED = ["etag", "last-modified", "cache-control"]
ALLOWED_HEADERS = [
    "range",
    "if-range",
    "if-none-match",
    "if-modified-since",
    "authorization",
    "content-type",
    "if-match",
    "if-unmodified-since",
    "x-accept-encoding",
    "x-request-id",
    "x-aero-user-id",
]
# Every plane and status that one request can bring about: plane, status, method, path, fields.
CASES: dict[str, tuple[str, int, str, str, Fields]] = {
    "200": ("data", 200, "GET", "/v1/images/disk", {}),
    "200-head": ("data", 200, "HEAD", "/v1/images/disk/data", {}),
    "206": ("data", 206, "GET", "/v1/images/disk", {"Range": "bytes=0-9"}),
    "304": ("data", 304, "GET", "/v1/images/disk", {"If-None-Match": "*"}),
    "404": ("data", 404, "GET", "/v1/images/nothing", {}),
    "404-invalid": ("data", 404, "GET", "/v1/images/%00", {}),
    "404-route": ("data", 404, "GET", "/v1/images/disk/nothing", {}),
    "405": ("data", 405, "POST", "/v1/images/disk", {}),
    "412": ("data", 412, "GET", "/v1/images/disk", {"If-Match": '"a"'}),
    "413": ("data", 413, "GET", "/v1/images/disk", {"Range": "bytes=" + "0-0," * 1000 + "0-0"}),
    "416": ("data", 416, "GET", "/v1/images/disk", {"Range": "bytes=5-2"}),
    "404-chunk": ("data", 404, "GET", "/v1/images/disk/chunked/chunks/00000000.bin", {}),
    "list": ("meta", 200, "GET", "/v1/images", {}),
    "list-304": ("meta", 304, "GET", "/v1/images", {"If-None-Match": "*"}),
    "meta": ("meta", 200, "GET", "/v1/images/disk/meta", {}),
    "meta-head": ("meta", 200, "HEAD", "/v1/images/disk/meta", {}),
    "meta-304": ("meta", 304, "GET", "/v1/images/disk/meta", {"If-None-Match": "*"}),
    "meta-400": ("meta", 400, "GET", "/v1/images/%00/meta", {}),
    "meta-404": ("meta", 404, "GET", "/v1/images/nothing/meta", {}),
    "healthz": ("plain", 200, "GET", "/healthz", {}),
    "health": ("plain", 200, "GET", "/health", {}),
    "readyz": ("plain", 200, "GET", "/readyz", {}),
    "version": ("plain", 200, "GET", "/version", {}),
    "metrics": ("plain", 200, "GET", "/metrics", {}),
}
PREFLIGHTS = ["/v1/images/disk", "/v1/images/disk/data", "/v1/images/nothing", "/v1/images", "/v1/images/disk/meta"]
PREFLIGHTS += ["/v1/images/disk/chunked/manifest.json", "/v1/images/disk/chunked/v1/chunks/00000000.bin", "/healthz"]
ASKING = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range,if-range"}
OPEN_FLAGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "star": ("--cors-origin", "*"),
    "star-in-list": (
        "--cors-origin",
        f"{APP},*",
        "--cors-origin",
        "https://b.test",
        "--cross-origin-resource-policy=same-origin",
    ),
}


@pytest.fixture(scope="module", params=OPEN_FLAGS)
def opened(request: pytest.FixtureRequest, small_home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon open to all origins, by default or by a star anywhere."""
    with running(small_home(str(request.param)), *OPEN_FLAGS[request.param]) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def listed(small_home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon with an allowlist, given in all the ways a list can be given."""
    flags = ("--cors-origin", f"{APP}/,HTTPS://Second.Test:8443", "--cors-origin", "http://localhost:3000")
    more = ("--cross-origin-resource-policy", "cross-origin", "--cors-preflight-max-age-secs", "5")
    with running(small_home("allowlist"), *flags, *more) as daemon:
        yield daemon


@pytest.mark.parametrize(("plane", "status", "method", "path", "fields"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("origin", [None, APP, "null"])
def test_open_to_all(
    opened: Daemon, *, origin: str | None, plane: str, status: int, method: str, path: str, fields: Fields
) -> None:
    """Without an allowlist every response is open to all, without credentials and without `Vary: Origin`."""
    reply = opened.ask(path, method, dict(fields) | ({"Origin": origin} if origin else {}))
    assert reply.status == status
    assert reply["Access-Control-Allow-Origin"] == "*"
    assert "access-control-allow-credentials" not in reply.names
    assert "origin" not in reply.members("Vary")
    exposed = {"data": DATA_EXPOSED, "meta": META_EXPOSED}
    if plane in exposed and status < 400:
        assert reply.members("Access-Control-Expose-Headers") == exposed[plane]
    if plane == "data":
        assert reply["Cross-Origin-Resource-Policy"] in {"same-site", "same-origin"}


@pytest.mark.parametrize(("plane", "status", "method", "path", "fields"), CASES.values(), ids=CASES)
@pytest.mark.parametrize(
    "origin", [APP, f"{APP}/", "HTTPS://APP.TEST", "https://second.test:8443", "http://localhost:3000"]
)
def test_on_the_allowlist(
    listed: Daemon, *, origin: str, plane: str, status: int, method: str, path: str, fields: Fields
) -> None:
    """An origin on the list is echoed as it was sent, with credentials and `Vary: Origin`."""
    reply = listed.ask(path, method, dict(fields) | {"Origin": origin})
    assert reply.status == status
    assert reply["Access-Control-Allow-Origin"] == origin
    assert reply["Access-Control-Allow-Credentials"] == "true"
    assert "origin" in reply.members("Vary")
    if plane == "data":
        assert reply["Cross-Origin-Resource-Policy"] == "cross-origin"


STRANGERS = {
    "none": None,
    "null": "null",
    "empty": "",
    "other": "https://evil.test",
    "subdomain": "https://sub.app.test",
    "suffix": "https://app.test.evil.test",
    "prefix": "https://evil-app.test",
    "scheme": "http://app.test",
    "port": "https://app.test:8443",
    "port-missing": "https://second.test",
    "path": "https://app.test/x",
    "bare": "app.test",
    "star": "*",
    "two": f"{APP} https://evil.test",
    "comma": f"{APP},https://evil.test",
    "non-ascii": "https://app.t\xe9st",
}


@pytest.mark.parametrize(("plane", "status", "method", "path", "fields"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("origin", ["none", "other"])
def test_off_the_allowlist(
    listed: Daemon, *, origin: str, plane: str, status: int, method: str, path: str, fields: Fields
) -> None:
    """Off the list there is no `Access-Control-*` field at all, but `Vary: Origin` everywhere."""
    value = STRANGERS[origin]
    reply = listed.ask(path, method, dict(fields) | ({"Origin": value} if value is not None else {}))
    assert reply.status == status
    assert not [name for name in reply.names if name.startswith("access-control-")]
    assert "origin" in reply.members("Vary")
    if plane == "data":
        assert reply["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize(
    "value", [value for value in STRANGERS.values() if value is not None], ids=list(STRANGERS)[1:]
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_strangers(listed: Daemon, method: str, value: str) -> None:
    """Nothing that only resembles an origin of the list is let in."""
    reply = listed.ask("/v1/images/disk", method, {"Origin": value})
    assert reply.status == (204 if method == "OPTIONS" else 200)
    assert not [name for name in reply.names if name.startswith("access-control-")]
    assert "origin" in reply.members("Vary")


@pytest.mark.parametrize("path", PREFLIGHTS)
@pytest.mark.parametrize("fields", [{}, ASKING, ASKING | {"Origin": APP}], ids=["bare", "asking", "origin"])
def test_preflight_open_to_all(opened: Daemon, path: str, fields: Fields) -> None:
    """A preflight is an empty 204 that allows what disk clients send."""
    reply = opened.ask(path, "OPTIONS", fields)
    assert reply.status == 204
    assert reply["Access-Control-Allow-Origin"] == "*"
    assert "access-control-allow-credentials" not in reply.names
    assert reply["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert reply.members("Access-Control-Allow-Headers") == ALLOWED_HEADERS
    assert reply["Access-Control-Max-Age"] == "86400"
    assert sorted(reply.members("Vary")) == ["access-control-request-headers", "access-control-request-method"]


@pytest.mark.parametrize("path", PREFLIGHTS)
def test_preflight_on_the_allowlist(listed: Daemon, path: str) -> None:
    """A preflight from the list is answered with credentials and the configured age."""
    reply = listed.ask(path, "OPTIONS", ASKING | {"Origin": APP})
    assert reply.status == 204
    assert reply["Access-Control-Allow-Origin"] == APP
    assert reply["Access-Control-Allow-Credentials"] == "true"
    assert reply["Access-Control-Max-Age"] == "5"
    assert reply.members("Access-Control-Allow-Headers") == ALLOWED_HEADERS
    assert set(reply.members("Vary")) == {"origin", "access-control-request-method", "access-control-request-headers"}


@pytest.mark.parametrize("path", PREFLIGHTS)
@pytest.mark.parametrize("fields", [ASKING, ASKING | {"Origin": "https://evil.test"}], ids=["none", "other"])
def test_preflight_from_elsewhere(listed: Daemon, path: str, fields: Fields) -> None:
    """A preflight from elsewhere is a 204 with Vary alone."""
    reply = listed.ask(path, "OPTIONS", fields)
    assert reply.status == 204
    assert not [name for name in reply.names if name.startswith("access-control-")]
    assert "origin" in reply.members("Vary")


@pytest.mark.parametrize("path", ["/v1/images/disk", "/v1/images/nothing"])
def test_preflight_carries_corp_on_the_data_plane(listed: Daemon, path: str) -> None:
    """CORP is on every status of the data plane, 204 as well."""
    assert listed.ask(path, "OPTIONS", ASKING)["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_invalid_catalog_keeps_cors_and_corp(home: Callable[[str], Path]) -> None:
    """A 500 carries CORS, Vary and CORP like any other status."""
    path = home("cors-500")
    small_root(path / "images")
    put_catalog(path / "images", "broken")
    with running(path, "--cors-origin", APP, "--cross-origin-resource-policy=same-origin") as daemon:
        for target in ("/v1/images/disk", "/v1/images/disk/meta", "/v1/images", "/readyz"):
            reply = daemon.ask(target, fields={"Origin": APP})
            assert reply.status in {500, 503}
            assert reply["Access-Control-Allow-Origin"] == APP
            assert "origin" in reply.members("Vary")
        assert daemon.ask("/v1/images/disk")["Cross-Origin-Resource-Policy"] == "same-origin"
