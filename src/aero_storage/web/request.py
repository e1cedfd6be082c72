"""A request as Klein and Twisted Web see it: parsed already, its path never decoded, its query never parsed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProducer
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.server import Request

from aero_storage.http.request_head import RequestHead
from aero_storage.web.response import Client

_NOWHERE = "/ "
"""Matches no route: no request target has a space in it."""


class RoutedClient(Client, Protocol):
    """The connection that a request came by."""

    site: Any
    """With the `resource` that routes requests."""

    @property
    def busy(self) -> bool:
        """Whether a response is under way."""
        ...


class RequestChannel:
    """A connection as Twisted Web's Request knows it: the public methods that it calls, as of an HTTP/2 stream."""

    factory = None

    def __init__(self, connection: RoutedClient) -> None:
        self.connection = connection

    @property
    def site(self) -> Any:
        """All connections, and the resource that routes requests."""
        return self.connection.site

    @property
    def transport(self) -> Any:
        """The connection below HTTP."""
        return self.connection.transport

    def getPeer(self) -> IAddress:
        """The other end."""
        peer: IAddress = self.transport.getPeer()
        return peer

    def getHost(self) -> IAddress:
        """Our end."""
        host: IAddress = self.transport.getHost()
        return host

    def isSecure(self) -> bool:
        """Whether this is TLS."""
        return self.connection.is_secure

    def writeHeaders(self, _version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Send the head of a response."""
        lines = [b"HTTP/1.1 " + code + b" " + reason]
        lines += [name + b": " + value for name, values in headers.getAllRawHeaders() for value in values]
        lines += [] if self.connection.stays_open() else [b"Connection: close"]
        self.transport.writeSequence([b"\r\n".join(lines), b"\r\n\r\n"])

    def write(self, data: bytes) -> None:
        """Send bytes of its body."""
        self.transport.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send bytes of its body."""
        self.transport.writeSequence(data)

    def requestDone(self, _request: object) -> None:
        """The response is whole."""
        self.connection.response_sent()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:  # noqa: FBT001 - Twisted's interface
        """Let the transport pause and resume what makes the body."""
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Have the transport forget it."""
        self.transport.unregisterProducer()

    def loseConnection(self) -> None:
        """Close once all is sent."""
        self.transport.loseConnection()


class AeroRequest(Request):
    """A request that a connection has read; `head` is all that was parsed of it, and `raw` what was sent.

    Twisted's constructor makes headers, lists and the addresses of both ends, for two system calls. Our resource
    needs none of them: each is made when another asks for it.
    """

    defaultContentType = None
    channel: RequestChannel | None  # type: ignore[assignment]
    queued = False

    def __init__(self, channel: RequestChannel, head: RequestHead, raw: bytes) -> None:
        Componentized.__init__(self)  # and not Request's, see above
        self.channel, self.head, self.raw = channel, head, raw

    @cached_property
    def method(self) -> bytes:  # type: ignore[override]
        """The method."""
        return self.head.method.encode("ascii")

    @cached_property
    def uri(self) -> bytes:  # type: ignore[override]
        """The target."""
        return self.head.target.encode("ascii")

    @cached_property
    def path(self) -> bytes:  # type: ignore[override]
        """Its path."""
        return self.head.path.encode("ascii")

    @cached_property
    def clientproto(self) -> bytes:  # type: ignore[override]
        """The version of HTTP."""
        return self.head.version.encode("ascii")

    @cached_property
    def args(self) -> dict[bytes, list[bytes]]:  # type: ignore[override]
        """The query is never parsed."""
        return {}

    @cached_property
    def client(self) -> IAddress:
        """The other end."""
        return self._open_channel.getPeer()

    @cached_property
    def host(self) -> IAddress:
        """Our end."""
        return self._open_channel.getHost()

    @cached_property
    def transport(self) -> Any:  # type: ignore[override]
        """The connection below HTTP."""
        return self._open_channel.transport

    @cached_property
    def responseHeaders(self) -> Headers:  # type: ignore[override]
        """Those of a resource that is not ours."""
        return Headers()

    @cached_property
    def cookies(self) -> list[bytes]:  # type: ignore[override]
        """Those that such a resource sets."""
        return []

    @cached_property
    def received_cookies(self) -> dict[bytes, bytes]:  # type: ignore[override]
        """They are never parsed."""
        return {}

    @cached_property
    def notifications(self) -> list[Deferred[None]]:  # type: ignore[override]
        """They fire at the end."""
        return []

    @property
    def _open_channel(self) -> RequestChannel:
        if self.channel is None:
            raise ConnectionDone
        return self.channel

    def __repr__(self) -> str:
        """Without the query, where a client may have put a token."""
        return f"<{type(self).__name__} {self.method!r} {self.path!r}>"

    @property
    def requestHeaders(self) -> Headers:
        """The headers, for a resource that is not ours; ours read `head`."""
        return Headers({name: [value] for name, value in self.head.headers.items()})

    @requestHeaders.setter
    def requestHeaders(self, _headers: Headers) -> None:
        """Twisted sets empty ones for a parser to fill."""

    @property
    def routed_path(self) -> str:
        """The path as the router sees it. Werkzeug would strip slashes at the front: such a path leads nowhere."""
        return _NOWHERE if self.head.path.startswith("//") else self.head.path

    def process(self) -> None:
        """Let Klein route the request."""
        channel = self.channel
        if channel is None:
            return
        self.site, connection = channel.site, channel.connection
        try:
            self.render(channel.site.resource)
        except Exception:
            if self.startedWriting or not connection.busy:
                connection.abort()
                raise
            self.processingFailed(Failure())  # logs it, and answers 500
