"""An HTTP client for one request at a time to an untrusted server, bounded in bytes and in time.

It does not follow redirects and does not decode content, as the checks need the actual answers of the server or of a
proxy in front of it.
"""

from __future__ import annotations

import http.client
import logging
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TooSlowError
from urllib3.response import HTTPResponse

from aero_storage.chunks.verify.bounded_connections import FewInterimResponses
from aero_storage.chunks.verify.remote import brief
from aero_storage.doctor.lease import hide, hide_in_body
from aero_storage.doctor.request import Request
from aero_storage.doctor.response import Response
from aero_storage.doctor.target import Target
from aero_storage.http.leases.carriers import Presented

logging.getLogger("urllib3.connection").disabled = True  # it warns of broken heads with the URL, and so the lease

KIB = 1024
MOST = 64 * KIB
"""Limit of the bytes read of a body, unless a check sets another."""

_PIECE = 64 * KIB
_TRIES = 3
_BUSY = 429
_BUSY_SECONDS = 1.0
_SLOWEST = 64 * KIB
"""Slowest rate of a large answer, in bytes a second."""

_ERRORS = (OSError, HTTPError, http.client.HTTPException, ValueError)
_STALE = (ConnectionError, http.client.RemoteDisconnected)
_USUAL = {"Accept-Encoding": "identity", "User-Agent": "aero-storage doctor", "Accept": "*/*"}


class _Connection(HTTPConnection):
    response_class = FewInterimResponses


class _SecureConnection(HTTPSConnection):
    response_class = FewInterimResponses


class UnansweredError(Exception):
    """No answer, or an incomplete one; the message has the request and the reason."""

    error: BaseException | None = None
    """The error of the system or the TLS library, if that is the reason."""


class BrokenOffError(UnansweredError):
    """The body ended before its announced end."""


class BusyError(UnansweredError):
    """The server answered 429 to every try."""


@attrs.define(eq=False)
class HttpClient:
    """Sends requests to one server over one persistent connection; call `close` when done."""

    target: Target
    timeout: float = 10.0
    """Timeout in seconds of connecting, and of waiting for the next bytes."""
    extra: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Headers of every request except anonymous ones; they may contain secrets."""
    lease: Presented | None = None
    """The lease of every request that names no other, except anonymous ones; it is never shown."""
    insecure: bool = False
    """Whether any certificate is accepted."""
    authorities: Path | None = attrs.field(default=None, kw_only=True)
    """A file of certificates (PEM) that are trusted in place of the system's; OSError is raised if it has none."""
    ends: float = math.inf
    """When all requests must be over, by `now`."""
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    received: int = attrs.field(init=False, default=0)
    """Bytes of bodies received so far."""
    unanswered_in_row: int = attrs.field(init=False, default=0)
    """Consecutive requests without an answer."""
    _connection: HTTPConnection = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = self._make()

    @property
    def is_overdue(self) -> bool:
        """Whether the time for all requests is over."""
        return self.now() >= self.ends

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        most: int = MOST,
        anonymous: bool = False,
    ) -> Response:
        """Send one request and read at most `most` bytes of the answer; after a 429 it is sent again, twice.

        Raises UnansweredError.
        """
        if anonymous:
            return self._ask(Request(method, path, dict(headers or {})), {}, most)
        return self.ask_with(self.lease, method, path, headers, most=most)

    def ask_with(
        self,
        lease: Presented | None,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        most: int = MOST,
    ) -> Response:
        """Send a request as `ask` does, with this lease or none. Raises UnansweredError."""
        own = dict(headers or {})
        given = {name: value for name, value in self.extra.items() if name not in own}
        return self._ask(Request(method, path, own, lease), given, most)

    def _ask(self, request: Request, given: Mapping[str, str], most: int) -> Response:
        for attempt in range(_TRIES):
            if attempt:
                self.pause(_BUSY_SECONDS)
            answer = self._exchange(request, {**_USUAL, **given, **request.own}, most)
            if answer.status != _BUSY:
                return answer
        raise BusyError(f"{answer.request}: status 429, {_TRIES} times")

    def expiry(self) -> float:
        """Return when the server's valid certificate expires, in seconds since the epoch.

        Raises UnansweredError.
        """
        try:
            self._connection.connect()
            sock = self._connection.sock
            certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
            return ssl.cert_time_to_seconds(str((certificate or {})["notAfter"]))
        except (*_ERRORS, KeyError) as error:
            failed = UnansweredError(f"{self.target.url}: {_reason(error)}")
            failed.error = _cause(error)
            raise failed from error

    def _make(self) -> HTTPConnection:
        target = self.target
        if target.scheme == "http":
            return _Connection(target.host, target.port, timeout=self.timeout)
        context = ssl.create_default_context(cafile=self.authorities)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return _SecureConnection(target.host, target.port, timeout=self.timeout, ssl_context=context)

    def _exchange(self, request: Request, headers: Mapping[str, str], most: int) -> Response:
        try:
            was_open = not self._connection.is_closed
            try:
                return self._once(request, headers, most, is_reused=was_open)
            except _STALE:
                if not was_open:
                    raise
                self.close()  # it was idle for too long; browsers open a new one too
                return self._once(request, headers, most, is_reused=False)
        except _ERRORS as error:
            self.close()
            self.unanswered_in_row += 1
            failed = UnansweredError(f"{request}: {_reason(error)}")
            failed.error = _cause(error)
            raise failed from error

    def _once(self, request: Request, headers: Mapping[str, str], most: int, *, is_reused: bool) -> Response:
        target, headers = request.sent(self.target.prefix, headers)
        began = self.now()
        left = self.ends - began
        if left <= 0:
            raise TimeoutError
        self._connection.timeout = min(self.timeout, left)
        if self._connection.is_closed:
            self._connection.connect()
        with deadline(self._connection.sock, min(left, 3 * self.timeout + most / _SLOWEST)):
            self._connection.request(
                request.method, target, headers=headers, preload_content=False, decode_content=False
            )
            response = self._connection.getresponse()
            self.unanswered_in_row = 0
            body = bytearray()
            first_byte, is_complete = self._read(str(request), response, body, most)
        return Response(
            request=str(request),
            status=response.status,
            fields=tuple((name.lower(), hide(self.lease, value)) for name, value in response.headers.items()),
            body=hide_in_body(self.lease, bytes(body[:most])),
            is_complete=is_complete,
            http_version=response.version,
            is_reused=is_reused,
            first_byte=first_byte - began,
            seconds=self.now() - began,
        )

    def _read(self, shown_request: str, response: HTTPResponse, body: bytearray, most: int) -> tuple[float, bool]:
        """Fill `body`; return when its first byte arrived, and whether it is complete."""
        try:
            piece = response.read(1)
            first_byte = self.now()
            while piece:
                body += piece
                self.received += len(piece)
                if len(body) > most:
                    break
                piece = response.read(_PIECE)
        except _ERRORS as error:
            self.close()
            text = response.headers.get("Content-Length", "an unknown number of")
            raise BrokenOffError(
                f"{shown_request}: the body broke off after {len(body)} of {brief(text)} bytes ({_reason(error)})"
            ) from error
        if piece:
            response.close()
            self.close()
        return first_byte, not piece


@contextmanager
def deadline(sock: socket.socket | None, seconds: float) -> Iterator[None]:
    """Shut a connection down if a with block takes longer than `seconds`: slow single bytes evade other timeouts.

    Raises TimeoutError then, as a truncated head or body could look complete.
    """
    is_over = threading.Event()
    timer = threading.Timer(seconds, _break, [sock, is_over])
    timer.daemon = True
    timer.start()
    try:
        yield
    except (*_ERRORS, UnansweredError) as error:
        if is_over.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if is_over.is_set():
        raise TimeoutError


def _break(sock: socket.socket | None, is_over: threading.Event) -> None:
    is_over.set()
    if sock is not None:
        with suppress(OSError):  # already closed
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of TCP, even under TLS: the reader sees the end


def _cause(error: BaseException) -> BaseException:
    """Return the cause of an error of urllib3, whose error for a refused connection is one of its timeouts."""
    return error.__cause__ if isinstance(error, HTTPError) and error.__cause__ is not None else error


def _reason(error: BaseException) -> str:
    cause = _cause(error)
    if isinstance(cause, TimeoutError | TooSlowError):
        return "it took too long; --timeout gives it more time"
    if isinstance(cause, OSError) and cause.strerror:
        return brief(cause.strerror)
    return brief(str(error) or type(error).__name__)
