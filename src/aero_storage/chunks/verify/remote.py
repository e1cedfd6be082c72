"""Published chunks on a web server, read as browser clients read them: by plain GETs, with checks of the headers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException
from urllib.parse import urljoin, urlsplit

import attrs
import urllib3
from typing_extensions import override
from urllib3.exceptions import HTTPError

from aero_storage.chunks.manifest import CHUNKS_DIRECTORY, MAX_MANIFEST_BYTES, Geometry
from aero_storage.chunks.verify.bounded_connections import Deadline, bounded_pools
from aero_storage.chunks.verify.source import ChunkSource, Content, Document
from aero_storage.errors import OperatorError
from aero_storage.http.shown_urls import shown_url, without_secrets

_PIECE = 256 * 1024
_SHOWN_LENGTH = 80
_SCHEMES = frozenset({"http", "https"})
_TIMEOUT = urllib3.Timeout(connect=10, read=30)
# A busy server answers 429. Its Retry-After is ignored: it could be a day.
_RETRIES = urllib3.Retry(
    total=8,
    connect=1,
    read=2,
    redirect=5,
    status=4,
    status_forcelist=(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE),
    backoff_factor=0.5,
    raise_on_status=False,
    respect_retry_after_header=False,
)
# Headers of browsers, so that a server or CDN that would encode a chunk for them is detected.
_HEADERS = {"Accept-Encoding": "gzip, deflate, br", "User-Agent": "aero-storage verify"}


DEADLINE_SECONDS = 3600.0
"""Time for a whole verification, unless it is given."""


class OverdueError(OperatorError):
    """The time for the whole verification is over."""


def http_source(url: str, seconds: float = DEADLINE_SECONDS) -> HttpSource:
    """Return the source at an http(s) URL. Raises OperatorError if it is none that `checked_url` takes."""
    return HttpSource(checked_url(url), seconds)


def checked_url(url: str) -> str:
    """Return an http(s) URL as it is.

    Raises OperatorError if it is none, or has a user's name; the message does not show what may be a password.
    """
    try:
        parts = urlsplit(url)
        is_usable = bool(parts.hostname) and parts.port != 0 and parts.scheme in _SCHEMES
    except ValueError:
        is_usable = False
        parts = urlsplit("")
    if "@" in parts.netloc:
        raise OperatorError("a URL with a user's name would show a password, and is not asked; leave the name out")
    if not is_usable or "//" not in url:
        raise OperatorError(f"{shown_url(url)} is no http or https URL; write it like https://images.example.com/…")
    return url


@attrs.frozen
class HttpSource(ChunkSource):
    """The manifest at an http(s) URL, `…/manifest.json` or `…/manifest`, and the chunks beside it."""

    url: str
    seconds: float = DEADLINE_SECONDS
    """Time for all requests together."""
    _deadline: Deadline = attrs.field(init=False, repr=False, eq=False)
    _connections: urllib3.PoolManager = attrs.field(init=False, repr=False, eq=False)

    @_deadline.default
    def _new_deadline(self) -> Deadline:
        return Deadline(self.seconds)

    @_connections.default
    def _new_connections(self) -> urllib3.PoolManager:
        pools = urllib3.PoolManager(maxsize=64, headers=_HEADERS, timeout=_TIMEOUT, retries=_RETRIES)
        return bounded_pools(pools, self._deadline)

    @property
    @override
    def name(self) -> str:
        return shown_url(self.url)

    @override
    def manifest(self) -> Document:
        try:
            with self._get(self.url) as response:
                if response.status != HTTPStatus.OK:
                    raise OperatorError(
                        f"{self.name} answers with status {response.status}; "
                        "is the image published, and is that the URL of its manifest.json?"
                    )
                faults = tuple(_faults(response))
                return Document(None if _is_encoded(response) else _read_manifest(response), faults)
        except OSError as error:
            raise OperatorError(f"{self.name} cannot be read: {error}; is the server up?") from error

    @contextmanager
    @override
    def chunk(self, name: str) -> Iterator[Content]:
        # Relative to the manifest's URL without its query, as clients resolve it.
        with self._get(urljoin(self.url, f"{CHUNKS_DIRECTORY}/{name}")) as response:
            is_usable = response.status == HTTPStatus.OK and not _is_encoded(response)
            length = _length(response) if is_usable else None
            yield Content(length, response.stream(_PIECE), tuple(_faults(response)), is_usable=is_usable)

    @override
    def strays(self, geometry: Geometry) -> tuple[str, ...]:
        # A web server has no listing of the directory.
        del geometry
        return ()

    @contextmanager
    def _get(self, url: str) -> Iterator[urllib3.BaseHTTPResponse]:
        self._deadline.start()
        try:
            response = self._connections.request("GET", url, preload_content=False, decode_content=False)
            try:
                yield response
            finally:
                response.close()  # closes the connection too, unless the body was read completely
        except (HTTPError, HTTPException) as error:  # also errors while the caller reads
            self._check_time()
            raise OSError(brief(without_secrets(str(error)))) from error
        self._check_time()  # a body without a length ends well when its connection is shut

    def _check_time(self) -> None:
        if self._deadline.is_over:
            raise OverdueError(
                f"{self.name}: not finished within {self.seconds:g} seconds; --timeout gives it more time"
            )


def _read_manifest(response: urllib3.BaseHTTPResponse) -> bytes:
    """Return the body, or its beginning if it is too long. Reads in pieces: one read() accepts a body cut short."""
    body = bytearray()
    for piece in response.stream(_PIECE):
        body += piece
        if len(body) > MAX_MANIFEST_BYTES:
            break
    return bytes(body)


def _faults(response: urllib3.BaseHTTPResponse) -> Iterator[str]:
    """Yield the reasons for which browser clients refuse a response (http.md §6)."""
    if response.status != HTTPStatus.OK:
        yield f"status {response.status} instead of 200"
        return
    if _is_encoded(response):
        yield f"Content-Encoding is {brief(response.headers['Content-Encoding'])}; clients take nothing but identity"
    directives = [part.strip().lower() for part in response.headers.get("Cache-Control", "").split(",")]
    if "no-transform" not in directives:
        yield "Cache-Control lacks no-transform, so clients refuse it"
    if _length(response) is None:
        given = response.headers.get("Content-Length")
        yield "Content-Length is missing" if given is None else f"Content-Length is {brief(given)}, no number"


def _is_encoded(response: urllib3.BaseHTTPResponse) -> bool:
    return response.headers.get("Content-Encoding", "identity").strip().lower() != "identity"


def _length(response: urllib3.BaseHTTPResponse) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _SHOWN_LENGTH else None


def brief(text: str) -> str:
    """Shorten a foreign text to one line for a message."""
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return plain if len(plain) <= _SHOWN_LENGTH else plain[:_SHOWN_LENGTH] + "…"
