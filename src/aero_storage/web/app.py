"""Klein, the router: it knows the paths, and hands every request to the responder."""

from __future__ import annotations

import re
from collections.abc import Coroutine, Iterable, Mapping
from typing import Protocol

from klein import Klein
from twisted.web.resource import IResource
from werkzeug.routing import BaseConverter

from aero_storage.delivery.routes import Route
from aero_storage.web.request import AeroRequest

_PLACEHOLDER = re.compile(r":(\w+)")


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

    def __call__(
        self, request: AeroRequest, route: Route | None, segments: Mapping[str, bytes], /
    ) -> Coroutine[object, object, None]:
        """Answer; `segments` are the raw path segments by their names in the route's template."""
        ...


def build_resource(routes: Iterable[Route], respond: Respond) -> IResource:
    """The resource that routes requests; those that match none go to `respond` without a route."""
    app = Klein()
    app.url_map.merge_slashes = False
    app.url_map.converters.update(segment=_Segment, anything=_Anything)
    for route in routes:
        _mount(app, _PLACEHOLDER.sub(r"<segment:\1>", route.template), route, respond)
    _mount(app, "/<anything:path>", None, respond)
    return app.resource()


def _mount(app: Klein, rule: str, route: Route | None, respond: Respond) -> None:
    async def handle(request: AeroRequest, **captured: str) -> None:
        segments = {name: text.encode("ascii") for name, text in captured.items()} if route else {}
        await respond(request, route, segments)

    app.route(rule, endpoint=rule)(handle)
