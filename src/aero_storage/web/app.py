"""Klein, the router: it knows the paths, and hands every request to the responder."""

from __future__ import annotations

import re
from collections.abc import Coroutine, Iterable, Mapping
from functools import lru_cache
from typing import Any, Protocol, cast

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.routing import BaseConverter

from aero_storage.delivery.facts import Names
from aero_storage.delivery.routes import Route
from aero_storage.web.request import AeroRequest

_PLACEHOLDER = re.compile(r":(\w+)")
_MATCHES = 4096
_LONGEST_KEPT = 256
"""Characters of a path whose match is remembered: all that are remembered take some 2 MB at the most."""


class _Segment(BaseConverter):
    """One raw path segment, an empty one too: whether it is a good name is not the router's business."""

    regex = "[^/]*"


class _Anything(BaseConverter):
    """Whatever no route takes."""

    regex = ".*"
    part_isolating = False
    weight = 1000


class Respond(Protocol):
    """What answers a request that was routed."""

    def __call__(self, request: AeroRequest, route: Route | None, names: Names, /) -> Coroutine[Any, Any, None]:
        """Answer; `names` are those that the route found in the path."""
        ...


class _Router(Resource):
    """A Klein app as a resource that does less for each request than Klein's own.

    That one asks the URL map anew, and makes a chain of Deferreds for whatever a handler might return or raise. Ours
    answer to the end and return nothing: so what a path matches is remembered, and only who has to wait costs a
    Deferred.
    """

    def __init__(self, app: Klein) -> None:
        super().__init__()
        self._app = app
        self._mapper = app.url_map.bind("localhost")
        self._remembered = lru_cache(_MATCHES)(self._match)

    def render(self, request: IRequest) -> Any:
        """Call the handler of the route that the path matches; if it waits, it is cancelled when the client goes."""
        given = cast("AeroRequest", request)
        path = given.routed_path
        endpoint, captured = (self._remembered if len(path) <= _LONGEST_KEPT else self._match)(path)
        waiting = cast("Deferred[None] | None", self._app.execute_endpoint(endpoint, request, **captured))
        if waiting is not None:
            waiting.addErrback(given.fail)
            given.notifyFinish().addErrback(lambda _: waiting.cancel())
        return NOT_DONE_YET

    def _match(self, path: str) -> tuple[str, Mapping[str, str]]:
        """The endpoint of a path, which is the same for all methods, and the segments that its rule captures."""
        rule, captured = self._mapper.match(path, return_rule=True)
        return rule.endpoint, captured


def build_resource(routes: Iterable[Route], respond: Respond) -> IResource:
    """The resource that routes requests; those that match none go to `respond` without a route."""
    app = Klein()
    app.url_map.merge_slashes = False
    app.url_map.converters.update(segment=_Segment, anything=_Anything)
    for route in routes:
        _mount(app, _PLACEHOLDER.sub(r"<segment:\1>", route.template), route, respond)
    _mount(app, "/<anything:path>", None, respond)
    return _Router(app)


def _mount(app: Klein, rule: str, route: Route | None, respond: Respond) -> None:
    def handle(request: AeroRequest, **captured: str) -> Deferred[None] | None:
        return start(respond(request, route, _names(**captured) if route else Names()))

    app.route(rule, endpoint=rule)(handle)


@lru_cache(_MATCHES)
def _names(**captured: str) -> Names:
    return Names.parse({name: text.encode("ascii") for name, text in captured.items()})


def start(work: Coroutine[Any, Any, None]) -> Deferred[None] | None:
    """Run a coroutine that waits for nothing but Deferreds; None if it has ended, without having to wait.

    Then there was no need of a Deferred, which costs more than a small request. A Deferred that is awaited does not
    mind being asked twice.
    """
    try:
        work.send(None)
    except StopIteration:
        return None
    return Deferred.fromCoroutine(work)
