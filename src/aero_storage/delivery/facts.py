"""The facts of a request that decisions need, as a value: no web framework's request, no raw bytes."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping

import attrs

from aero_storage.delivery.routes import DATA_PREFIX, PACKAGED, UNKNOWN, Plane, Resource, Route, plane_of
from aero_storage.http.conditional import UNCONDITIONAL, Preconditions
from aero_storage.http.content_codings import accepts_gzip
from aero_storage.http.identifiers import parse_chunk_name, parse_image_id, parse_part, parse_version
from aero_storage.http.leases.carriers import PARAMETER
from aero_storage.http.queries import first_value
from aero_storage.values import request_value

MAX_LOGGED_PATH = 256
"""Limit of the path in a log line, in characters."""

_random = random.Random()  # noqa: S311 - request ids are no secrets
_CONDITIONAL = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range")
"""In the order of the fields of Preconditions."""

_CONDITIONS = frozenset(_CONDITIONAL)
_INVALID = "<invalid>"
_OTHER_METHOD = "<other>"
_STANDARD_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_TOKEN_TEXT = re.compile(r"[\x21-\x7e]{1,128}")
_PARSERS: Mapping[str, Callable[[bytes], str | None]] = {
    "image_id": parse_image_id,
    "version": parse_version,
    "chunk_name": parse_chunk_name,
    "part": parse_part,
}

Fields = Mapping[str, str]
"""Field values by names in lower case; repeated lines are joined by commas (RFC 9110 §5.3)."""


def request_id_of(given: str | None) -> str:
    """Return the client's `X-Request-Id` if it is valid, else a new id (http.md §8)."""
    return make_request_id() if given is None else _token(given) or make_request_id()


def make_request_id() -> str:
    """Return a UUID of version 4 (RFC 9562 §5.4), which is no secret. Call it on the reactor's thread only.

    256 consecutive ids differ in their first two digits alone: 114 random bits are drawn for all of them, from a
    generator that is seeded once, which takes a thirtieth of the time of 122 bits from the system for each.
    """
    return next(_uuids)


def _draw_uuids() -> Iterator[Iterator[str]]:
    while True:
        digits, variant = f"{_random.getrandbits(112):028x}", _random.choice("89ab")
        rest = f"{digits[:6]}-{digits[6:10]}-4{digits[10:13]}-{variant}{digits[13:16]}-{digits[16:28]}"
        yield map(str.__add__, _FIRST_DIGITS, itertools.repeat(rest))


_FIRST_DIGITS = [f"{number:02x}" for number in range(256)]
_random.shuffle(_FIRST_DIGITS)
_uuids = itertools.chain.from_iterable(_draw_uuids())


@attrs.frozen
class Names:
    """The names in a path, checked; None if the route has no such name or if it is invalid."""

    image_id: str | None = None
    version: str | None = None
    chunk_name: str | None = None
    broken: frozenset[str] = frozenset()
    """The names of the route that are invalid."""
    part: str | None = None
    """A file of the client, or of the page."""

    @property
    def valid(self) -> bool:
        """Whether every name of the route is valid."""
        return not self.broken

    @classmethod
    def parse(cls, segments: Mapping[str, bytes]) -> Names:
        """Parse the raw path segments that a route captured."""
        parsed = {name: _PARSERS[name](raw) for name, raw in segments.items()}
        return cls(**parsed, broken=frozenset(name for name, value in parsed.items() if value is None))


@attrs.frozen
class LeaseQuestion:
    """Headers that the lease route needs (http.md §12); the first three count only from a trusted proxy."""

    original_uri: str | None = attrs.field(default=None, repr=False)
    """`X-Original-URI`, as nginx is told to send it."""
    forwarded_uri: str | None = attrs.field(default=None, repr=False)
    """`X-Forwarded-Uri`, as Caddy sends it."""
    forwarded_proto: str | None = None
    fetch_site: str | None = None
    """`Sec-Fetch-Site`."""
    host: str | None = None


@request_value
class Facts:
    """The facts of one request, from its head."""

    method: str
    path: str
    route: Route | None = None
    names: Names = Names()
    preconditions: Preconditions = Preconditions()
    origin: str | None = None
    authorization: str | None = attrs.field(default=None, repr=False)
    credentials: bool = False
    """Whether it has an `Authorization` or a `Cookie` header, or a `lease` in its query."""
    query: str = attrs.field(default="", repr=False)
    cookies: str | None = attrs.field(default=None, repr=False)
    announces_body: bool = False
    user_id: str | None = None
    forwarded: str | None = None
    """`X-Forwarded-For`; to be trusted only if a trusted proxy sent it."""
    lease_question: LeaseQuestion | None = None
    """On the lease route, what it needs beside."""
    accepts_gzip: bool = False
    """Whether a file of the package may be sent compressed."""

    @property
    def plane(self) -> Plane:
        """The plane whose rules the response follows."""
        return self.route.plane if self.route else plane_of(self.path)

    @property
    def resource(self) -> Resource | None:
        """The resource of the route; None without a route."""
        return self.route.resource if self.route else None

    @property
    def route_label(self) -> str:
        """The template of the route, or `<unknown>`."""
        return self.route.template if self.route else UNKNOWN

    @property
    def method_label(self) -> str:
        """The method if it is a standard one, else `<other>`: labels contain no text from clients."""
        return self.method if self.method in _STANDARD_METHODS else _OTHER_METHOD

    @property
    def logged_path(self) -> str:
        """The path without invalid names, cut to 256 characters; `<invalid>` if there is no valid path."""
        if not self.path:
            return _INVALID
        if not self.path.startswith(DATA_PREFIX) or (self.route and not self.names.broken and "%" not in self.path):
            return self.path[:MAX_LOGGED_PATH]
        image_id, slash, rest = self.path.removeprefix(DATA_PREFIX).partition("/")
        shown = parse_image_id(image_id.encode("latin-1")) or _INVALID
        if self.names.broken - {"image_id"} or (self.route is None and "%" in rest):
            rest = _INVALID
        return f"{DATA_PREFIX}{shown}{slash}{rest}"[:MAX_LOGGED_PATH]


def read_facts(  # noqa: PLR0913 - one for each part of a request head
    *,
    method: str,
    path: str,
    query: str = "",
    route: Route | None,
    names: Names,
    headers: Fields,
    announces_body: bool,
    now: float,
) -> Facts:
    """Gather the facts of a request."""
    header = headers.get
    is_conditional = not _CONDITIONS.isdisjoint(headers)
    authorization, cookies, user_id = header("authorization"), header("cookie"), header("x-aero-user-id")
    resource = None if route is None else route.resource
    return Facts(
        method,
        path,
        route,
        names,
        _read_preconditions(headers, now) if is_conditional else UNCONDITIONAL,
        header("origin"),
        authorization,
        authorization is not None
        or cookies is not None
        or (query != "" and first_value(query, PARAMETER) is not None),
        query,
        cookies,
        announces_body,
        None if user_id is None else _token(user_id),
        header("x-forwarded-for"),
        _read_lease_question(headers) if resource is Resource.LEASE else None,
        resource in PACKAGED and accepts_gzip(header("accept-encoding")),
    )


def _read_lease_question(headers: Fields) -> LeaseQuestion:
    return LeaseQuestion(
        original_uri=headers.get("x-original-uri"),
        forwarded_uri=headers.get("x-forwarded-uri"),
        forwarded_proto=headers.get("x-forwarded-proto"),
        fetch_site=headers.get("sec-fetch-site"),
        host=headers.get("host"),
    )


def _read_preconditions(headers: Fields, now: float) -> Preconditions:
    return Preconditions(*map(headers.get, _CONDITIONAL), now)  # type: ignore[arg-type, call-arg]


def _token(value: str) -> str | None:
    """Return `value` if it consists of 1 to 128 visible ASCII characters, else None."""
    return value if _TOKEN_TEXT.fullmatch(value) else None
