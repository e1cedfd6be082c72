"""Klein, the router: it knows the paths, and hands every request to the responder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Protocol

from klein import Klein
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.routing import BaseConverter

from aero_storage.delivery.facts import Names
from aero_storage.delivery.routes import Route
from aero_storage.http.request_head import RequestHead
from aero_storage.web.request import AeroRequest
from aero_storage.web.response import Client

_PLACEHOLDER = re.compile(r":(\w+)")
_REST = "rest"
_MATCHES = 512
_LONGEST_KEPT = 256
"""Characters of a path whose match is remembered: all that are remembered take 4 MB at most."""


class _Segment(BaseConverter):
    """One raw path segment, an empty one too: whether it is a good name is not the router's business."""

    regex = "[^/]*"


class _Anything(BaseConverter):
    """A path that no route takes."""

    regex = ".*"
    part_isolating = False
    weight = 1000


class Respond(Protocol):
    """Answers a request that was routed."""

    def __call__(self, head: RequestHead, raw: bytes, route: Route | None, names: Names, client: Client, /) -> None:
        """Answer; `names` are those that the route found in the path."""
        ...


class _Router(Resource):
    """A Klein app as a resource that does less for each request than Klein's own.

    Klein's asks the URL map anew, and makes a chain of Deferreds for whatever a handler might return or raise: a
    third of the time that a small request took. Our handlers answer to the end and return nothing. So what a path
    matches is remembered.
    """

    def __init__(self, app: Klein) -> None:
        super().__init__()
        self._app = app
        self._mapper = app.url_map.bind("localhost")
        self._remembered = lru_cache(_MATCHES)(self._match)

    def render(self, request: IRequest) -> Any:
        """Call the handler of the route that the path matches."""
        path: str = request.routed_path  # type: ignore[attr-defined] # an AeroRequest
        endpoint, names = (self._remembered if len(path) <= _LONGEST_KEPT else self._match)(path)
        self._app.execute_endpoint(endpoint, request, names)
        return NOT_DONE_YET

    def _match(self, path: str) -> tuple[str, Names]:
        """The endpoint of a path, which is the same for all methods, and the names in it."""
        rule, captured = self._mapper.match(path, return_rule=True)
        return rule.endpoint, Names.parse(
            {name: captured[name].encode("ascii") for name in captured.keys() - {_REST}}
        )


def build_resource(routes: Iterable[Route], respond: Respond) -> IResource:
    """The resource that routes requests; those that match none go to `respond` without a route."""
    app = Klein()
    app.url_map.merge_slashes = False
    app.url_map.converters.update(segment=_Segment, anything=_Anything)
    for route in routes:
        _mount(app, _PLACEHOLDER.sub(r"<segment:\1>", route.template), route, respond)
    _mount(app, f"/<anything:{_REST}>", None, respond)
    return _Router(app)


def _mount(app: Klein, rule: str, route: Route | None, respond: Respond) -> None:
    def handle(request: AeroRequest, names: Names) -> None:
        if request.channel is not None:
            respond(request.head, request.raw, route, names, request.channel.connection)

    app.route(rule, endpoint=rule)(handle)
