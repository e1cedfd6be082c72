"""The table of routes, against that of http.md §2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.routes import ROUTES, Access, Plane, Resource, plane_of, routes

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask

CHUNKED = "/v1/images/:image_id/chunked"
TABLE = {
    "/healthz": (Plane.OPERATIONS, Resource.LIVENESS),
    "/health": (Plane.OPERATIONS, Resource.LIVENESS_TEXT),
    "/readyz": (Plane.OPERATIONS, Resource.READINESS),
    "/ready": (Plane.OPERATIONS, Resource.READINESS),
    "/version": (Plane.OPERATIONS, Resource.VERSION),
    "/metrics": (Plane.OPERATIONS, Resource.METRICS),
    "/": (Plane.METADATA, Resource.PAGE),
    "/ui/:part": (Plane.METADATA, Resource.PAGE_PART),
    "/client/:part": (Plane.METADATA, Resource.CLIENT),
    "/v1/images": (Plane.METADATA, Resource.LIST),
    "/v1/images/:image_id/meta": (Plane.METADATA, Resource.META),
    "/v1/images/:image_id": (Plane.DATA, Resource.IMAGE),
    "/v1/images/:image_id/data": (Plane.DATA, Resource.IMAGE),
    "/v1/images/:image_id/versions/:version": (Plane.DATA, Resource.IMAGE),
    "/v1/images/:image_id/versions/:version/data": (Plane.DATA, Resource.IMAGE),
    "/v1/images/:image_id/extents": (Plane.METADATA, Resource.EXTENTS),
    "/v1/images/:image_id/versions/:version/extents": (Plane.METADATA, Resource.EXTENTS),
    "/v1/images/:image_id/profile": (Plane.METADATA, Resource.PROFILE),
    "/v1/images/:image_id/versions/:version/profile": (Plane.METADATA, Resource.PROFILE),
    "/v1/images/:image_id/lease": (Plane.DATA, Resource.LEASE),
    f"{CHUNKED}/manifest.json": (Plane.DATA, Resource.CHUNK_MANIFEST),
    f"{CHUNKED}/manifest": (Plane.DATA, Resource.CHUNK_MANIFEST),
    f"{CHUNKED}/chunks/:chunk_name": (Plane.DATA, Resource.CHUNK),
    f"{CHUNKED}/:version/manifest.json": (Plane.DATA, Resource.CHUNK_MANIFEST),
    f"{CHUNKED}/:version/manifest": (Plane.DATA, Resource.CHUNK_MANIFEST),
    f"{CHUNKED}/:version/chunks/:chunk_name": (Plane.DATA, Resource.CHUNK),
}


def test_table() -> None:
    """The routes are those of http.md, each once, on its plane."""
    assert {route.template: (route.plane, route.resource) for route in ROUTES} == TABLE
    assert len(ROUTES) == len(TABLE)


def test_access() -> None:
    """What belongs to an image asks for that image, the list for what it shows, and the rest for nothing."""
    for route in ROUTES:
        wanted = Access.IMAGE if ":image_id" in route.template else Access.NOTHING
        assert route.access is (Access.LIST if route.template == "/v1/images" else wanted), route.template


def test_methods() -> None:
    """Every route answers GET, HEAD and OPTIONS, and `Allow` says so."""
    assert {route.methods for route in ROUTES} == {("GET", "HEAD", "OPTIONS")}
    assert {route.allow for route in ROUTES} == {"GET, HEAD, OPTIONS"}


def test_disabled_routes() -> None:
    """Without metrics, and without the page, there is no such path, and all else is as it was."""
    everything = {route.template for route in ROUTES}
    assert routes(metrics=True, page=True) == ROUTES
    assert everything - {route.template for route in routes(metrics=False, page=True)} == {"/metrics"}
    of_package = {"/", "/ui/:part", "/client/:part"}
    assert everything - {route.template for route in routes(metrics=True, page=False)} == of_package


@pytest.mark.parametrize(
    ("path", "plane"),
    [
        ("/v1/images/", Plane.DATA),
        ("/v1/images/x/y", Plane.DATA),
        ("/v1/images/x/", Plane.DATA),
        ("/", Plane.OPERATIONS),
        ("", Plane.OPERATIONS),
        ("/v1", Plane.OPERATIONS),
        ("/v1/imagesx", Plane.OPERATIONS),
        ("//v1/images/x", Plane.OPERATIONS),
        ("*", Plane.OPERATIONS),
    ],
)
def test_planes_of_unknown_paths(path: str, plane: Plane) -> None:
    """What matches no route belongs to the data plane below /v1/images/, else to the operators'."""
    facts = Facts("GET", path)
    assert plane_of(path) is facts.plane is plane
    assert facts.route_label == "<unknown>"


@pytest.mark.parametrize("template", TABLE)
def test_labels(ask: Ask, template: str) -> None:
    """A route is logged and counted under its template, whatever the names in the path are."""
    facts = ask(template.replace(":image_id", "a%20b").replace(":version", "v1").replace(":chunk_name", "x"))
    assert facts.route_label == template
    assert facts.plane is TABLE[template][0]
