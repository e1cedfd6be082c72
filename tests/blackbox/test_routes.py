"""http.md §2: routes, methods and strictness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.blackbox.image_roots import DISK, ROUTE_LIKE_IDS, VERSION
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from tests.blackbox.harness import Daemon

JSON_OK = b'{"status":"ok"}'
ROUTES = {
    "/healthz": "/healthz",
    "/health": "/health",
    "/readyz": "/readyz",
    "/ready": "/ready",
    "/version": "/version",
    "/metrics": "/metrics",
    "/v1/images": "/v1/images",
    "/v1/images/disk/meta": "/v1/images/:image_id/meta",
    "/v1/images/disk": "/v1/images/:image_id",
    "/v1/images/disk/data": "/v1/images/:image_id/data",
    f"/v1/images/disk/versions/{VERSION}": "/v1/images/:image_id/versions/:version",
    f"/v1/images/disk/versions/{VERSION}/data": "/v1/images/:image_id/versions/:version/data",
}
DATA = ("/v1/images/disk", "/v1/images/disk/data")
PLAIN = ("/healthz", "/health", "/readyz", "/ready", "/version", "/metrics")
OTHERS = ("POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "BREW", "get", "Get", "HEADS")
ALLOWED = {"get", "head", "options"}


@pytest.mark.parametrize("path", ROUTES)
def test_get(store: Daemon, path: str) -> None:
    """Every route answers GET with 200 and a body of the announced length."""
    reply, line = store.traced(path)
    assert reply.status == 200
    assert reply.ending == "whole"
    assert line["route"] == ROUTES[path]


@pytest.mark.parametrize("path", ROUTES)
def test_head_sends_the_headers_of_get(store: Daemon, path: str) -> None:
    """HEAD sends exactly the headers of GET and no body."""
    fields = {"X-Request-Id": "same-for-both"}
    with store.dial() as conn:
        got = conn.ask("GET", path, fields)
        conn.send(head("HEAD", path, fields) + head("GET", "/healthz"))
        headed = conn.reply("HEAD")
        assert conn.reply().json() == {"status": "ok"}, "HEAD was followed by a body"
    moving = {"date", "content-length"} if path == "/metrics" else {"date"}
    assert headed.status == got.status
    assert headed.names == got.names
    for name in got.names - moving:
        assert headed.every(name) == got.every(name), name


@pytest.mark.parametrize(
    "path", [*ROUTES, "/v1/images/unknown", "/v1/images/unknown/data", "/v1/images/unknown/meta"]
)
def test_options_is_a_preflight(store: Daemon, path: str) -> None:
    """OPTIONS is a 204 without body on every route, whether or not the image exists."""
    with store.dial() as conn:
        conn.send(head("OPTIONS", path) + head("GET", "/healthz"))
        reply = conn.reply("OPTIONS")
        assert reply.status == 204
        assert reply.members("Access-Control-Allow-Methods") == ["get", "head", "options"]
        assert conn.reply().json() == {"status": "ok"}


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("path", ROUTES)
def test_other_methods(store: Daemon, path: str, method: str) -> None:
    """Any other method on a known route is a 405 with Allow."""
    reply = store.ask(path, method)
    assert reply.status == 405
    assert set(reply.members("Allow")) == ALLOWED
    assert len(reply.body) <= 1024


@pytest.mark.parametrize(
    "path", ["/v1/images/unknown", "/v1/images/%2e%2e", "/v1/images/a%2Fb/data", "/v1/images/%00/meta"]
)
def test_method_comes_before_the_id(store: Daemon, path: str) -> None:
    """The method is judged before the id is looked at."""
    assert store.ask(path, "POST").status == 405


@pytest.mark.parametrize("path", DATA)
def test_405_of_the_data_plane(store: Daemon, path: str) -> None:
    """A 405 of the data plane is an error of the data plane."""
    reply = store.ask(path, "DELETE")
    assert reply.body == b""
    assert reply["Cache-Control"] == "no-store, no-transform"
    assert reply["Cross-Origin-Resource-Policy"] == "same-site"
    assert reply["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/ui",
        "/client",
        "/foo",
        "/v1",
        "/v1/",
        "//",
        "//healthz",
        "/healthz/",
        "/healthz/x",
        "/HEALTHZ",
        "/health%2Fz",
        "/./healthz",
        "/x/../healthz",
        "/metrics/",
        "/metrics/..",
        "/version/",
        "/ready/",
        "/v1/imagesx",
        "/V1/images",
        "/v1/Images",
        "/v2/images",
        "//v1/images",
        "/v1//images",
        "//v1/images/disk",
        "/v1//images/disk",
        "/v1/images%2Fdisk",
        "/v1/./images/disk",
        "/x/../v1/images/disk",
        "/images/disk",
        "/manifest.json",
        "/disk.img",
        "/favicon.ico",
        "/robots.txt",
    ],
)
def test_unknown_path_outside_the_images(store: Daemon, path: str) -> None:
    """Any other path is a 404 with a short body."""
    reply, line = store.traced(path)
    assert reply.status == 404
    assert 0 < len(reply.body) <= 1024
    assert line["route"] == "<unknown>"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/images/",
        "/v1/images//",
        "/v1/images/disk/",
        "/v1/images//disk",
        "/v1/images/./disk",
        "/v1/images/../images/disk",
        "/v1/images/disk/data/",
        "/v1/images/disk//data",
        "/v1/images/disk/data/x",
        "/v1/images/disk/Data",
        "/v1/images/disk/meta/",
        "/v1/images/disk/meta/x",
        "/v1/images/disk/foo",
        "/v1/images/disk/disk.img",
        "/v1/images/disk/../disk",
        "/v1/images/disk/chunked",
        "/v1/images/disk/chunked/",
        "/v1/images/disk/chunked/chunks",
        "/v1/images/disk/chunked/chunks/",
        "/v1/images/disk/versions",
        "/v1/images/disk/versions/",
        f"/v1/images/disk/versions/{VERSION}/",
        f"/v1/images/disk/versions/{VERSION}/meta",
        f"/v1/images/disk/versions/{VERSION}/lease",
        f"/v1/images/disk/versions/{VERSION}/data/x",
        f"/v1/images/disk//versions/{VERSION}",
        f"/v1/images/disk/Versions/{VERSION}",
        "/v1/images/manifest.json",
        "/v1/images/disk.img",
    ],
)
def test_unknown_path_inside_the_images(store: Daemon, path: str) -> None:
    """Any other path under `/v1/images/` is a 404 as an error of the data plane: routing is strict."""
    reply = store.ask(path)
    assert reply.status == 404
    assert reply.body == b""
    assert reply["Cache-Control"] == "no-store, no-transform"
    assert reply["Cross-Origin-Resource-Policy"] == "same-site"
    assert reply["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("image_id", ROUTE_LIKE_IDS)
def test_ids_that_look_like_routes(store: Daemon, image_id: str) -> None:
    """An image whose id happens to be a word of the routes works like any other."""
    assert store.ask(f"/v1/images/{image_id}").body == DISK
    assert store.ask(f"/v1/images/{image_id}/data").body == DISK
    assert store.ask(f"/v1/images/{image_id}/versions/{VERSION}/data").body == DISK
    assert store.ask(f"/v1/images/{image_id}/meta").json()["id"] == image_id


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "query",
    [
        *("?", "?a=b", "?x=/../%2e%2e", "?%ff", "?a?b", "?/v1/images/disk/meta"),
        *("?lease=&lease=%00", "?unit=x&offset=-1&length=9", "?name=../..&version=v", "?cookie=1"),
    ],
)
def test_query_is_ignored(store: Daemon, path: str, query: str) -> None:
    """A query changes nothing."""
    assert store.ask(path + query, "HEAD").status == 200


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("filler", ["a", "a&", "%zz;", "/", "?"])
def test_long_query(store: Daemon, path: str, filler: str) -> None:
    """Targets of 8 KiB are accepted on every route, whatever their query has; a byte more is a 414."""
    target = (path + "?" + filler * 8192)[:8192]
    assert store.ask(target, "HEAD", {"Cookie": "a=b; " * 1000}).status == 200
    assert store.ask(target + "a", "HEAD").status == 414


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://store.test/v1/images/disk", 200),
        ("http://store.test:8080/v1/images/disk", 200),
        ("HTTP://STORE.TEST/v1/images/disk/data", 200),
        ("http://elsewhere.test/healthz", 200),
        ("http://127.0.0.1/v1/images/disk/meta?x=1", 200),
        ("http://[::1]:80/healthz", 200),
        ("http://store.test/v1/images/disk/", 404),
        ("http://store.test//v1/images/disk", 404),
        ("http://store.test/v1/images/a%2Fmeta", 404),
        ("http://store.test/v1/images/%2e%2e/meta", 400),
        ("http://store.test/", 200),
        ("http://store.test", 200),
    ],
)
def test_absolute_form(store: Daemon, target: str, status: int) -> None:
    """An absolute-form target is accepted and routed by its path."""
    assert store.ask(target).status == status


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("OPTIONS", "*"),
        ("GET", "*"),
        ("GET", "healthz"),
        ("GET", "v1/images/disk"),
        ("CONNECT", "store.test:443"),
        ("GET", "http:/healthz"),
        ("GET", "http://"),
        ("GET", "http:///v1/images/disk"),
        ("GET", "http://[::1/healthz"),
        ("GET", "http://a:b:c/healthz"),
        ("GET", "ftp://store.test/healthz"),
        ("GET", "://"),
        ("GET", "?"),
        ("GET", "file:///etc/passwd"),
        ("G@T", "/healthz"),
        ("G" * 5000, "/healthz"),
    ],
    ids=lambda value: value[:30],
)
def test_odd_targets_and_methods(store: Daemon, method: str, target: str) -> None:
    """A target of another form is answered in full, never by a 5xx and never by silence."""
    reply = store.ask(target, method)
    assert reply.status < 500
    if method != "OPTIONS":
        assert reply.status >= 400 or "healthz" in target or "disk" in target
    assert reply["Date"]
    assert reply["X-Request-Id"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/ready"])
def test_health_bodies(store: Daemon, path: str) -> None:
    """Health and readiness are `{"status":"ok"}`."""
    reply = store.ask(path)
    assert reply.json() == {"status": "ok"}
    assert reply["Content-Type"].startswith("application/json")


def test_health_text(store: Daemon) -> None:
    """`/health` is the text `ok`."""
    reply = store.ask("/health")
    assert reply.body.strip() == b"ok"
    assert reply["Content-Type"].startswith("text/plain")


def test_version(store: Daemon) -> None:
    """`/version` tells the version, the commit and the time of the build."""
    reply = store.ask("/version")
    body = reply.json()
    assert {"version", "gitSha", "builtAt"} <= body.keys()
    assert all(isinstance(value, str) for value in body.values())
    assert body["version"]
    assert body["gitSha"]


def test_metrics_content_type(store: Daemon) -> None:
    """`/metrics` is the 0.0.4 text exposition."""
    assert store.ask("/metrics")["Content-Type"].replace(" ", "").startswith("text/plain;version=0.0.4")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", PLAIN)
def test_plain_routes_are_not_stored(store: Daemon, path: str, method: str) -> None:
    """Health, readiness, version and metrics are `no-store`."""
    assert store.ask(path, method)["Cache-Control"] == "no-store"
