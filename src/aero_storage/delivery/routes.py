"""All routes of the server (http.md §2) in one table; routing, labels, `Allow` and tests are derived from it."""

from __future__ import annotations

import enum

import attrs

UNKNOWN = "<unknown>"
"""The route label of requests that match no route."""

DATA_PREFIX = "/v1/images/"
"""Paths below this belong to the data plane, unless their route has another plane."""

METHODS = ("GET", "HEAD", "OPTIONS")


class Plane(enum.Enum):
    """The rules for headers and errors of a response."""

    __hash__ = object.__hash__  # Enum's own is written in Python, and takes 0.2 µs

    OPERATIONS = "operations"
    METADATA = "metadata"
    DATA = "data"


class Access(enum.Enum):
    """The things that a caller must be allowed to have, where leases are on (http.md §12)."""

    NOTHING = "nothing"
    IMAGE = "an image"
    """The image of the path, if it is private."""
    LIST = "the list"
    """The images of the caller's leases."""


class Resource(enum.Enum):
    """The kind of resource behind a route."""

    __hash__ = object.__hash__

    LIVENESS = "liveness"
    LIVENESS_TEXT = "liveness, as text"
    READINESS = "readiness"
    VERSION = "version"
    METRICS = "metrics"
    LIST = "list of images"
    META = "metadata of an image"
    IMAGE = "bytes of an image"
    CHUNK_MANIFEST = "chunk manifest"
    CHUNK = "chunk object"
    EXTENTS = "extents of an image"
    PROFILE = "boot profile of an image"
    LEASE = "whether a lease is good"
    CLIENT = "file of the client"
    PAGE = "page"
    PAGE_PART = "part of the page"


PACKAGED = frozenset({Resource.CLIENT, Resource.PAGE, Resource.PAGE_PART})
"""Resources that are files of the package."""

_BYTES = frozenset({Resource.IMAGE, Resource.CHUNK_MANIFEST, Resource.CHUNK})


@attrs.frozen
class Route:
    """A path template with colon names, its resource and its plane, and what a caller has to be allowed."""

    template: str
    resource: Resource
    plane: Plane
    access: Access = Access.NOTHING
    methods: tuple[str, ...] = METHODS
    takes_place: bool = attrs.field(init=False)
    """Whether its requests count under the cap."""

    @takes_place.default
    def _takes_place(self) -> bool:
        return self.resource in _BYTES

    @property
    def allow(self) -> str:
        """The value of `Allow`."""
        return ", ".join(self.methods)


_CHUNKED = "/v1/images/:image_id/chunked"
_VERSIONED = f"{_CHUNKED}/:version"
_IMAGE_VERSION = "/v1/images/:image_id/versions/:version"

ROUTES = (
    Route("/healthz", Resource.LIVENESS, Plane.OPERATIONS),
    Route("/health", Resource.LIVENESS_TEXT, Plane.OPERATIONS),
    Route("/readyz", Resource.READINESS, Plane.OPERATIONS),
    Route("/ready", Resource.READINESS, Plane.OPERATIONS),
    Route("/version", Resource.VERSION, Plane.OPERATIONS),
    Route("/metrics", Resource.METRICS, Plane.OPERATIONS),
    Route("/", Resource.PAGE, Plane.METADATA),
    Route("/ui/:part", Resource.PAGE_PART, Plane.METADATA),
    Route("/client/:part", Resource.CLIENT, Plane.METADATA),
    Route("/v1/images", Resource.LIST, Plane.METADATA, Access.LIST),
    Route("/v1/images/:image_id/meta", Resource.META, Plane.METADATA, Access.IMAGE),
    Route("/v1/images/:image_id/extents", Resource.EXTENTS, Plane.METADATA, Access.IMAGE),
    Route("/v1/images/:image_id", Resource.IMAGE, Plane.DATA, Access.IMAGE),
    Route("/v1/images/:image_id/data", Resource.IMAGE, Plane.DATA, Access.IMAGE),
    Route(_IMAGE_VERSION, Resource.IMAGE, Plane.DATA, Access.IMAGE),
    Route(f"{_IMAGE_VERSION}/data", Resource.IMAGE, Plane.DATA, Access.IMAGE),
    Route(f"{_IMAGE_VERSION}/extents", Resource.EXTENTS, Plane.METADATA, Access.IMAGE),
    Route("/v1/images/:image_id/profile", Resource.PROFILE, Plane.METADATA, Access.IMAGE),
    Route(f"{_IMAGE_VERSION}/profile", Resource.PROFILE, Plane.METADATA, Access.IMAGE),
    Route("/v1/images/:image_id/lease", Resource.LEASE, Plane.DATA, Access.IMAGE),
    Route(f"{_CHUNKED}/manifest.json", Resource.CHUNK_MANIFEST, Plane.DATA, Access.IMAGE),
    Route(f"{_CHUNKED}/manifest", Resource.CHUNK_MANIFEST, Plane.DATA, Access.IMAGE),
    Route(f"{_CHUNKED}/chunks/:chunk_name", Resource.CHUNK, Plane.DATA, Access.IMAGE),
    Route(f"{_VERSIONED}/manifest.json", Resource.CHUNK_MANIFEST, Plane.DATA, Access.IMAGE),
    Route(f"{_VERSIONED}/manifest", Resource.CHUNK_MANIFEST, Plane.DATA, Access.IMAGE),
    Route(f"{_VERSIONED}/chunks/:chunk_name", Resource.CHUNK, Plane.DATA, Access.IMAGE),
)


def routes(*, metrics: bool, page: bool) -> tuple[Route, ...]:
    """Return the routes to mount: `/metrics` only with `metrics` (http.md §9), those of the package with `page`."""
    wanted = {Resource.METRICS: metrics, **dict.fromkeys(PACKAGED, page)}
    return tuple(route for route in ROUTES if wanted.get(route.resource, True))


def plane_of(path: str) -> Plane:
    """Return the plane of a path that matches no route."""
    return Plane.DATA if path.startswith(DATA_PREFIX) else Plane.OPERATIONS
