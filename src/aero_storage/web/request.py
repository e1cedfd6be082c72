"""The request as Twisted Web hands it over: checked, and its path never decoded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from twisted.python.failure import Failure
from twisted.web.server import Request

from aero_storage.http.client_address import UNIX, plain_host
from aero_storage.http.host import MAX_TARGET_LENGTH, is_authority, origin_form

if TYPE_CHECKING:
    from aero_storage.delivery.exchange import Exchange
    from aero_storage.streaming.throttle import Pace
    from aero_storage.web.channel import AeroChannel
    from aero_storage.web.site import ImageSite
    from aero_storage.web.transport import Transport

_UNPRINTABLE = re.compile(rb"[^\x21-\x7e]")


class AeroRequest(Request):
    """A request whose path is not decoded, whose `Host` is checked, and which never becomes text/html.

    `refusal` is the status with which it is refused before any route is looked at, or None.
    """

    defaultContentType = None
    refusal: int | None = None
    announces_body = False
    turned_away: int | None = None
    """The status with which it is refused because its connection is one too many, once its route is known."""
    aborted_by_us = False
    exchange: Exchange | None = None
    routed_path = "/"
    """What the router is to see of the path."""
    site: ImageSite

    def __repr__(self) -> str:
        """Without the query, where a client may have put a token."""
        return f"<{type(self).__name__} {self.method!r} {getattr(self, 'path', None)!r}>"

    def process(self) -> None:
        """Check target and `Host`, then let Klein route the raw path."""
        self.site = cast("ImageSite", self.channel.factory)
        self.path = _raw_path(self.uri)
        if self.refusal is None:
            self.refusal = self._why_not()
        # Klein's matcher would strip slashes at the front: what it must not see goes to the route for all else.
        if self.refusal is None and not self.path.startswith(b"//"):
            self.routed_path = self.path.decode("ascii")
        try:
            self.render(self.site.resource)
        except Exception:  # noqa: BLE001 - a defect of ours
            self.fail(Failure())

    def fail(self, failure: Failure) -> None:
        """The last resort: log what nobody foresaw, and answer 500 if no answer has begun, else break it off."""
        if not self.startedWriting and self.channel is not None:
            self.processingFailed(failure)
            return
        self._log.failure("", failure)
        if not self.finished:
            self.abort()

    def _why_not(self) -> int | None:
        if len(self.uri) > MAX_TARGET_LENGTH:
            return 414
        hosts = self.requestHeaders.getRawHeaders(b"Host", [])
        missing = not hosts and self.clientproto == b"HTTP/1.1"
        wrong = len(hosts) > 1 or not all(map(is_authority, hosts))
        return 400 if missing or wrong or origin_form(self.uri) is None else None

    def read_headers(self) -> dict[str, str]:
        """All headers by their names in Twisted's spelling, lines given twice joined by commas (RFC 9110 §5.3)."""
        lines = self.requestHeaders.getAllRawHeaders()
        return {name.decode("ascii"): b", ".join(values).decode("latin-1") for name, values in lines}

    def begin(self, status: int, length: int) -> None:
        """The head of the response goes out, and a body of `length` bytes follows: Twisted need not make one."""
        self.code, self.startedWriting, self.sentLength = status, 1, length

    def push(self, data: bytes) -> None:
        """Write bytes of the response that are counted already, or are none of its body."""
        if self.channel is not None:
            self.channel.write(data)

    def unregisterProducer(self) -> None:
        """See IConsumer; a connection that is lost has nothing left to unregister from."""
        if self.channel is None:
            self.producer = None
        else:
            super().unregisterProducer()

    def part_if_retiring(self) -> None:
        """Have the head that is about to go out say that the connection closes, if the daemon is about to stop."""
        if self.site.retiring and self.channel is not None:
            cast("AeroChannel", self.channel).part(self)

    @property
    def pace(self) -> Pace | None:
        """How fast bytes of images may go; None if no limit is set, or the connection is lost."""
        return cast("AeroChannel", self.channel).pace if self.channel is not None else None

    @property
    def waits(self) -> bool:
        """Whether it stands in the queue for a place under the cap."""
        return self.exchange is not None and self.exchange.waiting

    def abort(self) -> None:
        """Break the connection off, so that the client cannot take what it has for the whole."""
        cast("Transport", self.transport).abortConnection()


def host_of(peer: object) -> str:
    """The peer's host as logs show it; a UNIX socket has none."""
    return plain_host(getattr(peer, "host", None) or UNIX)


def _raw_path(uri: bytes) -> bytes:
    """The path of a request target, still percent-encoded, in visible ASCII; empty if there is none."""
    path = (origin_form(uri) or b"").partition(b"?")[0]
    return _UNPRINTABLE.sub(lambda match: b"%%%02X" % match[0][0], path)
