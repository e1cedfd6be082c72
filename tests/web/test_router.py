"""Routing through Klein: every route, raw segments, and what matches none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.routes import ROUTES, UNKNOWN, Resource, Route
from aero_storage.storage.local.local_extents import TICK_SECONDS
from aero_storage.web.router import build_resource

SEGMENTS = {":image_id": "disk.img", ":version": "v1", ":chunk_name": "00000000.bin"}
NAMED = [route for route in ROUTES if ":image_id" in route.template]


def path_of(route: Route) -> str:
    path = route.template
    for name, segment in SEGMENTS.items():
        path = path.replace(name, segment)
    return path


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.template)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_each_route_is_reached(stack: Any, route: Route, method: str) -> None:
    """Every template routes its own path, for every method, and is its own label."""
    connection = stack.connect()
    connection.get(path_of(route), method=method)
    stack.reactor.advance(TICK_SECONDS)  # for extents, as the file is new
    response = connection.response(head=method == "HEAD")
    assert stack.log.requests[-1]["route"] == route.template
    expected = {"OPTIONS": 204, "GET": None, "HEAD": None}.get(method, 405)
    assert expected in (None, response.status)
    if expected == 405:
        assert response["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("name", ["data", "meta", "chunked", "chunks", "manifest", "manifest.json"])
@pytest.mark.parametrize("route", NAMED, ids=lambda route: route.template)
def test_ids_that_look_like_routes(stack: Any, route: Route, name: str) -> None:
    """An image whose id is a word of the routes is still an id."""
    stack.ask(path_of(route).replace("disk.img", name), method="OPTIONS")
    assert stack.log.requests[-1]["route"] == route.template
    assert stack.log.requests[-1]["image_id"] == name


@pytest.mark.parametrize(
    "path",
    [
        "//v1/images/disk.img",
        "///v1/images/disk.img",
        "/v1//images/disk.img",
        "/v1/images/disk.img/",
        "/v1/images/disk.img//data",
        "/v1/images/disk.img/data/",
        "/V1/images/disk.img",
        "/v1/images/disk.img/meta/x",
        "/v1/images/disk.img/chunked",
        "/healthz/",
        "/metrics%20",
    ],
)
def test_routing_is_strict(stack: Any, path: str) -> None:
    """A path that is not exactly a route is none."""
    assert stack.ask(path).status == 404
    assert stack.log.requests[-1]["route"] == UNKNOWN


@pytest.mark.parametrize("segment", ["a%2Fmeta", "a%2fmeta", "%2e%2e%2fmeta", "%252Fmeta"])
def test_segments_are_split_before_they_are_decoded(stack: Any, segment: str) -> None:
    """An encoded slash is part of an (invalid) id, never a way to another route."""
    assert stack.ask(f"/v1/images/{segment}").status == 404
    assert stack.log.requests[-1]["route"] == "/v1/images/:image_id"
    assert "meta" not in stack.log.requests[-1]["path"]


def test_metrics_are_not_mounted_when_disabled(make_stack: Callable[..., Any]) -> None:
    """Without metrics there is no such route, and a token does not bring it back."""
    stack = make_stack(disable_metrics="true", metrics_auth_token="secret")
    assert stack.ask("/metrics", ("Authorization", "Bearer secret")).status == 404
    assert stack.log.requests[-1]["route"] == UNKNOWN


def test_every_resource_has_a_route() -> None:
    """The table leads to every kind of resource."""
    assert {route.resource for route in ROUTES} == set(Resource)


def test_a_match_is_remembered(make_stack: Callable[..., Any]) -> None:
    """Asked again, a path has its own names and no other's; a long one is matched anew and not kept."""
    stack = make_stack(express="false")
    router = stack.parts.site.resource
    long = "a" * 250
    for image_id in ("disk.img", "other", "disk.img", long, "other", long):
        stack.ask(f"/v1/images/{image_id}", method="OPTIONS")
        line = stack.log.requests[-1]
        assert line["path"] == f"/v1/images/{image_id if image_id != long else '<invalid>'}"
    known = router._remembered.cache_info()  # noqa: SLF001
    assert (known.currsize, known.misses, known.hits) == (2, 2, 2)


def test_all_methods_share_a_match(stack: Any) -> None:
    """What is remembered of a path holds for every method, those that its route refuses too."""
    statuses = [stack.ask("/healthz", method=method).status for method in ("GET", "POST", "HEAD", "OPTIONS", "GET")]
    assert statuses == [200, 405, 200, 204, 200]


def test_defect_of_a_handler(stack: Any) -> None:
    """A defect outside of all nets is logged by Twisted, and answered with 500."""

    def respond(*_: object) -> None:
        raise KeyError

    stack.parts.site.resource = build_resource(ROUTES, respond)
    connection = stack.connect()
    connection.get("/healthz")
    assert connection.response().status == 500


def test_defect_after_the_head(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect outside of all nets, once an answer has begun, puts nothing behind it: the connection is reset."""

    def fail(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr(Exchange, "end", fail)
    connection = stack.connect()
    connection.get("/healthz")
    assert connection.response().status == 200
    assert connection.transport.aborted


def test_names_of_headers_in_any_case(stack: Any) -> None:
    """A header is found however its name is spelt; lines given twice are joined."""
    response = stack.ask(
        "/v1/images/disk.img", ("RANGE", "bytes=0-9"), ("x-request-id", "r-1"), ("X-AERO-USER-ID", "u-1")
    )
    assert (response.status, response["X-Request-Id"]) == (206, "r-1")
    assert stack.log.requests[-1]["user_id"] == "u-1"
    response = stack.ask("/v1/images/disk.img", ("if-none-match", '"a"'), ("IF-NONE-MATCH", response["ETag"]))
    assert response.status == 304
