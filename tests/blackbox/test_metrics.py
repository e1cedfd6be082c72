"""http.md §9: the metrics and who may read them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running
from tests.blackbox.image_roots import DISK, SIZE, VERSION, WIDE_SIZE, entry, full_root, small_root
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields

TYPES = {
    "http_requests_total": "counter",
    "http_request_duration_seconds": "histogram",
    "image_bytes_served_total": "counter",
    "range_requests_total": "counter",
    "store_errors_total": "counter",
    "aero_storage_server_build_info": "gauge",
}
BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
IMAGE = "/v1/images/:image_id"


@pytest.fixture(scope="module")
def fresh(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon of its own, so that counters move by these tests alone."""
    path = home("metrics")
    full_root(path / "images")
    with running(path) as daemon:
        yield daemon


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("range_requests_total", {"result": "valid"}),
        ("range_requests_total", {"result": "invalid"}),
        ("store_errors_total", {"kind": "meta"}),
        ("store_errors_total", {"kind": "open_range"}),
        ("store_errors_total", {"kind": "manifest"}),
    ],
    ids=str,
)
def test_zeros_from_the_start(fresh: Daemon, name: str, labels: dict[str, str]) -> None:
    """Fixed label sets are there before anything has happened."""
    assert fresh.metrics().get(name, **labels) == 0


@pytest.mark.parametrize("name", TYPES)
def test_types(fresh: Daemon, name: str) -> None:
    """Every metric of http.md is there with its type."""
    fresh.ask("/v1/images/disk")
    types = fresh.metrics().types
    assert types.get(name) == TYPES[name]


def test_no_created_series(fresh: Daemon) -> None:
    """There are no `_created` series."""
    assert "_created" not in fresh.metrics().text


def test_build_info(fresh: Daemon) -> None:
    """The build info is 1, with the version that `/version` tells."""
    version = fresh.ask("/version").json()["version"]
    assert fresh.metrics().get("aero_storage_server_build_info", version=version) == 1


def test_label_names(fresh: Daemon) -> None:
    """The labels are those of http.md and no others."""
    fresh.traced("/v1/images/disk")
    metrics = fresh.metrics()
    wanted = {
        "http_requests_total": {"route", "method", "status"},
        "http_request_duration_seconds_count": {"route", "method"},
        "http_request_duration_seconds_bucket": {"route", "method", "le"},
        "image_bytes_served_total": {"image_id"},
        "range_requests_total": {"result"},
        "store_errors_total": {"kind"},
        "aero_storage_server_build_info": {"version"},
    }
    for name, labels in wanted.items():
        assert {frozenset(found) for found in metrics.labels(name)} == {frozenset(labels)}, name


def test_buckets(fresh: Daemon) -> None:
    """The histogram has the buckets of http.md."""
    fresh.traced("/healthz")
    found = {labels["le"] for labels in fresh.metrics().labels("http_request_duration_seconds_bucket")}
    assert sorted(float(le) for le in found if le != "+Inf") == BUCKETS
    assert "+Inf" in found


def test_not_more_than_twice_a_second(home: Callable[[str], Path]) -> None:
    """A daemon as it comes makes an exposition half a second after the last one, and no sooner."""
    with running(home("paced"), metrics_at_once=False) as daemon:
        daemon.metrics()
        began = time.monotonic()
        daemon.metrics()
        daemon.metrics()
        assert time.monotonic() - began >= 0.5


# Method, target, fields, and the labels it counts under.
COUNTED: list[tuple[str, str, Fields, str, str, int]] = [
    ("GET", "/healthz", {}, "/healthz", "GET", 200),
    ("HEAD", "/health", {}, "/health", "HEAD", 200),
    ("GET", "/readyz", {}, "/readyz", "GET", 200),
    ("GET", "/ready", {}, "/ready", "GET", 200),
    ("GET", "/version", {}, "/version", "GET", 200),
    ("GET", "/v1/images", {}, "/v1/images", "GET", 200),
    ("GET", "/v1/images/disk/meta", {}, f"{IMAGE}/meta", "GET", 200),
    ("GET", "/v1/images/disk", {}, IMAGE, "GET", 200),
    ("HEAD", "/v1/images/disk", {}, IMAGE, "HEAD", 200),
    ("GET", "/v1/images/disk/data", {}, f"{IMAGE}/data", "GET", 200),
    ("GET", "/v1/images/disk", {"Range": "bytes=0-5"}, IMAGE, "GET", 206),
    ("GET", "/v1/images/disk", {"Range": "bytes=5-2"}, IMAGE, "GET", 416),
    ("GET", "/v1/images/disk", {"If-None-Match": "*"}, IMAGE, "GET", 304),
    ("GET", "/v1/images/nothing", {}, IMAGE, "GET", 404),
    ("GET", "/v1/images/%2e%2e", {}, IMAGE, "GET", 404),
    ("GET", "/v1/images/%00/meta", {}, f"{IMAGE}/meta", "GET", 400),
    ("GET", "/v1/images/disk/chunked/manifest.json", {}, f"{IMAGE}/chunked/manifest.json", "GET", 404),
    ("GET", "/v1/images/disk/chunked/v1/manifest", {}, f"{IMAGE}/chunked/:version/manifest", "GET", 404),
    ("GET", "/v1/images/disk/chunked/chunks/0.bin", {}, f"{IMAGE}/chunked/chunks/:chunk_name", "GET", 404),
    ("GET", f"/v1/images/disk/versions/{VERSION}", {"Range": "bytes=0-5"}, f"{IMAGE}/versions/:version", "GET", 206),
    ("HEAD", f"/v1/images/disk/versions/{VERSION}/data", {}, f"{IMAGE}/versions/:version/data", "HEAD", 200),
    ("GET", "/v1/images/disk/versions/v-0/data", {}, f"{IMAGE}/versions/:version/data", "GET", 404),
    ("OPTIONS", "/v1/images/disk", {}, IMAGE, "OPTIONS", 204),
    ("POST", "/v1/images/disk", {}, IMAGE, "POST", 405),
    ("DELETE", "/healthz", {}, "/healthz", "DELETE", 405),
    ("BREW", "/healthz", {}, "/healthz", "<other>", 405),
    ("get", "/healthz", {}, "/healthz", "<other>", 405),
    ("BREW", "/nothing", {}, "<unknown>", "<other>", 404),
    ("GET", "/nothing", {}, "<unknown>", "GET", 404),
    ("GET", "/v1/images/disk/zqx", {}, "<unknown>", "GET", 404),
    ("GET", "//healthz", {}, "<unknown>", "GET", 404),
]


@pytest.mark.parametrize(("method", "target", "fields", "route", "label", "status"), COUNTED)
def test_requests_are_counted(
    fresh: Daemon, *, method: str, target: str, fields: Fields, route: str, label: str, status: int
) -> None:
    """Each request counts once under its template, its method and its status, in counter and histogram."""
    before = fresh.metrics()
    assert fresh.ask(target, method, fields).status == status
    fresh.rises(before, 1, "http_requests_total", route=route, method=label, status=str(status))
    fresh.rises(before, 1, "http_request_duration_seconds_count", route=route, method=label)


def test_hostile_names_are_no_labels(fresh: Daemon) -> None:
    """Nothing that a client makes up becomes a label value."""
    for target in (
        "/zqx-path",
        "/v1/images/zqx%2F",
        "/v1/images/%00zqx/meta",
        "/v1/images/zqx-unknown",
        "/v1/images/disk/zqx",
    ):
        fresh.ask(target, "ZQXMETHOD")
        fresh.ask(target, "GET")
    assert "zqx" not in fresh.metrics().text.lower()


# Image, method, fields, and bytes served.
SERVED: list[tuple[str, str, Fields, int]] = [
    ("disk", "GET", {}, SIZE),
    ("disk", "GET", {"Range": "bytes=5-9"}, 5),
    ("disk", "GET", {"Range": "bytes=-100"}, 100),
    ("disk", "GET", {"Range": "bytes=299999-400000"}, 1),
    ("disk", "GET", {"Range": "items=0-5"}, SIZE),
    ("disk", "HEAD", {}, 0),
    ("disk", "HEAD", {"Range": "bytes=5-9"}, 0),
    ("disk", "GET", {"Range": "bytes=5-2"}, 0),
    ("disk", "GET", {"If-None-Match": "*"}, 0),
    ("empty", "GET", {}, 0),
    ("wide", "GET", {}, WIDE_SIZE),
]


@pytest.mark.parametrize(("image_id", "method", "fields", "count"), SERVED)
def test_bytes_served(fresh: Daemon, *, image_id: str, method: str, fields: Fields, count: int) -> None:
    """Body bytes count for their image, and only those that were sent."""
    before = fresh.metrics()
    reply, _ = fresh.traced(f"/v1/images/{image_id}", method, fields)
    assert len(reply.body) == count
    fresh.rises(before, count, "image_bytes_served_total", image_id=image_id)


def test_bytes_really_sent(fresh: Daemon) -> None:
    """A download that breaks off counts what left, as the log says, not what was promised."""
    before = fresh.metrics()
    with fresh.dial(receive_buffer=65536) as conn:
        conn.send(head("GET", "/v1/images/wide", {"X-Request-Id": "breaks-off"}))
        assert conn.reply_head().status == 200
    line = fresh.complete("breaks-off")
    assert line["bytes_sent"] < WIDE_SIZE
    fresh.rises(before, line["bytes_sent"], "image_bytes_served_total", image_id="wide")


# Fields, status, and by how much `valid` and `invalid` rise.
RANGES: list[tuple[str, Fields, int, int, int]] = [
    ("disk", {"Range": "bytes=0-5"}, 206, 1, 0),
    ("disk", {"Range": "bytes=-5"}, 206, 1, 0),
    ("disk", {"Range": "bytes=0-"}, 206, 1, 0),
    ("disk", {"Range": "bytes=5-2"}, 416, 0, 1),
    ("disk", {"Range": "bytes=0-0,5-6"}, 416, 0, 1),
    ("disk", {"Range": "bytes=300000-"}, 416, 0, 1),
    ("big", {"Range": "bytes=0-99999999"}, 413, 0, 1),
    ("disk", {"Range": "bytes=" + "0-0," * 1000 + "0-0"}, 413, 0, 1),
    ("disk", {"Range": "bytes=0-5", "If-Match": '"a"'}, 412, 0, 1),
    ("disk", {"Range": "items=0-5"}, 200, 0, 0),
    ("disk", {"Range": "bytes=0-5", "If-Range": '"a"'}, 200, 0, 0),
    ("disk", {"Range": "bytes=0-5", "If-None-Match": "*"}, 304, 0, 0),
    ("disk", {}, 200, 0, 0),
    ("nothing", {"Range": "bytes=0-5"}, 404, 0, 0),
]


@pytest.mark.parametrize(("image_id", "fields", "status", "valid", "invalid"), RANGES)
def test_ranges_are_counted(
    fresh: Daemon, *, image_id: str, fields: Fields, status: int, valid: int, invalid: int
) -> None:
    """A 206 is a valid range, 412, 413 and 416 are invalid ones, ignored ranges are neither."""
    before = fresh.metrics()
    assert fresh.traced(f"/v1/images/{image_id}", fields=fields)[0].status == status
    fresh.rises(before, valid, "range_requests_total", result="valid")
    fresh.rises(before, invalid, "range_requests_total", result="invalid")


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_cap_on_image_ids(home: Callable[[str], Path], how: str) -> None:
    """`image_id` takes so many values; what comes after them counts as `__other__`, the first ones stay."""
    path = home("ids")
    small_root(path / "images", *(entry(f"image-{n}") for n in range(5)))
    flags = ("--image-metrics-max-ids", "2") if how == "flag" else ()
    with running(path, *flags, env={"AERO_IMAGE_METRICS_MAX_IDS": "2"} if how == "variable" else {}) as daemon:
        for n in (0, 1, 2, 3, 0, 4):
            daemon.traced(f"/v1/images/image-{n}", fields={"Range": "bytes=0-9"})
        nothing = daemon.metrics().__class__("", {}, {})
        daemon.rises(nothing, 20, "image_bytes_served_total", image_id="image-0")
        daemon.rises(nothing, 10, "image_bytes_served_total", image_id="image-1")
        daemon.rises(nothing, 30, "image_bytes_served_total", image_id="__other__")
        assert len(daemon.metrics().labels("image_bytes_served_total")) == 3


def test_default_cap_on_image_ids(home: Callable[[str], Path]) -> None:
    """By default the cap is 100 values."""
    path = home("many-ids")
    small_root(path / "images", *(entry(f"image-{n}") for n in range(120)))
    with running(path) as daemon:
        with daemon.dial() as conn:
            for n in range(120):
                assert conn.ask("GET", f"/v1/images/image-{n}", {"Range": "bytes=0-9"}).body == DISK[:10]
        daemon.rises(daemon.metrics().__class__("", {}, {}), 200, "image_bytes_served_total", image_id="__other__")
        assert len(daemon.metrics().labels("image_bytes_served_total")) == 101


TOKEN = "zq-Token.1"
TOKEN_WAYS = ["flag", "variable", "file"]


@pytest.fixture(scope="module", params=TOKEN_WAYS)
def guarded(request: pytest.FixtureRequest, small_home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon whose metrics want a token."""
    path = small_home("guarded")
    (path / "token").write_text(f"{TOKEN}\n")
    (path / "token").chmod(0o600)
    flags = {"flag": ("--metrics-auth-token", TOKEN), "file": ("--metrics-auth-token-file", str(path / "token"))}
    env = {"AERO_STORAGE_METRICS_AUTH_TOKEN": TOKEN} if request.param == "variable" else {}
    with running(path, *flags.get(request.param, ()), env=env) as daemon:
        yield daemon


ACCESS: list[tuple[Fields, int]] = [
    ({"Authorization": f"Bearer {TOKEN}"}, 200),
    ({"Authorization": f"bearer {TOKEN}"}, 200),
    ({}, 401),
    ({"Authorization": "Basic eDp5"}, 401),
    ({"Authorization": TOKEN}, 401),
    ({"Cookie": f"token={TOKEN}"}, 401),
    ({"Authorization": "Bearer wrong"}, 403),
    ({"Authorization": f"Bearer {TOKEN}x"}, 403),
    ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 403),
    ({"Authorization": f"Bearer {TOKEN.upper()}"}, 403),
    ({"Authorization": "Bearer \xe9\xff"}, 403),
    ({"Authorization": "Bearer " + "x" * 5000}, 403),
]


@pytest.mark.parametrize(("fields", "status"), ACCESS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_token(guarded: Daemon, method: str, fields: Fields, status: int) -> None:
    """No bearer token is a 401 that asks for one, a wrong one a 403; nothing of it is logged."""
    reply, _ = guarded.traced("/metrics", method, fields)
    assert reply.status == status
    assert reply["Cache-Control"] == "no-store"
    assert reply["Access-Control-Allow-Origin"] == "*"
    assert len(reply.body) <= 1024 or status == 200
    if status == 401:
        assert reply["WWW-Authenticate"].startswith("Bearer")
    assert TOKEN not in guarded.log_text()


def test_token_guards_the_metrics_alone(guarded: Daemon) -> None:
    """Other routes want no token, and a preflight neither."""
    assert guarded.ask("/healthz").status == 200
    assert guarded.ask("/v1/images/disk").status == 200
    assert guarded.ask("/metrics", "OPTIONS").status == 204


@pytest.fixture(scope="module")
def without(small_home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon whose metrics are disabled, with a token all the same."""
    with running(small_home("without"), "--disable-metrics", "--metrics-auth-token", TOKEN) as daemon:
        yield daemon


@pytest.mark.parametrize("fields", [{}, {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": "Bearer x"}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_disabled(without: Daemon, method: str, fields: Fields) -> None:
    """`--disable-metrics` is a 404 and wins over the token."""
    assert without.ask("/metrics", method, fields).status == 404
    assert without.ask("/healthz", method).status == 200
