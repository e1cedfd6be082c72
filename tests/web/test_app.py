"""Routing through Klein: every route, raw segments, and what matches none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aero_storage.delivery.routes import ROUTES, UNKNOWN, Resource, Route

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
    response = stack.ask(path_of(route), method=method)
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
        "/",
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
