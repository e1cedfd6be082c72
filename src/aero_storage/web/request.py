"""A request as Klein and Twisted Web see it: parsed already, its path never decoded, its query never parsed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IProducer
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
        self.site = connection.site
        self.transport: Any = connection.transport

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
    """A request that a connection has read; `head` is all that was parsed of it, and `raw` what was sent."""

    defaultContentType = None
    channel: RequestChannel | None  # type: ignore[assignment]

    def __init__(self, channel: RequestChannel, head: RequestHead, raw: bytes) -> None:
        super().__init__(channel)  # HTTP/2's streams are no HTTPChannel either
        self.head, self.raw = head, raw
        self.method, self.uri = head.method.encode("ascii"), head.target.encode("ascii")
        self.path, self.clientproto = head.path.encode("ascii"), head.version.encode("ascii")
        self.args: dict[bytes, list[bytes]] = {}

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
        if self.channel is None:
            return
        self.site = self.channel.site
        connection = self.channel.connection
        try:
            self.render(self.site.resource)
        except Exception:
            if self.startedWriting or not connection.busy:
                connection.abort()
                raise
            self.processingFailed(Failure())  # logs it, and answers 500
