"""GET requests for a disk image: redirects are followed within limits of number and time, to safe places alone."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from http.client import HTTPException
from ssl import SSLCertVerificationError
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urljoin, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import attrs
import urllib3
from urllib3.exceptions import HTTPError

from aero_storage.chunks.verify.bounded_connections import RepeatedDeadline, bounded_pools
from aero_storage.chunks.verify.remote import brief, checked_url
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.http.shown_urls import shown_url, without_secrets

CUT = (HTTPError, HTTPException, OSError)
"""Exceptions of a connection that cannot be made, or was cut."""

_MOST_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PROXY_SCHEMES = frozenset({"http", "https"})
_TIMEOUT = urllib3.Timeout(connect=10, read=30)
_WAIT_SECONDS = 60.0
"""Time for an answer to begin, and for each next piece of a body.

A server could evade the timeouts with a byte of a header, of a chunk's size or of a trailer now and then.
"""

_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "aero-storage import"}


def reason_of(error: BaseException) -> str:
    """Return the reason of an exception of CUT, for a message: that of the system or of TLS, if there is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SSLCertVerificationError):
            return f"its certificate is not trusted: {brief(cause.verify_message)}"
        if isinstance(cause, OSError) and cause.strerror:
            return brief(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return brief(without_secrets(str(error))) or type(error).__name__


@attrs.define
class Answer:
    """The answer of the server at the end of the redirects, its body yet to be read; `url` is where that is."""

    url: str
    response: urllib3.BaseHTTPResponse
    _pool: urllib3.HTTPConnectionPool
    """Gets the connection back when the whole body was read."""
    _deadline: RepeatedDeadline
    """Ends each wait for the next bytes."""
    is_unaltered: bool = False
    """Whether nobody on the way can have changed it, or a redirect that led to it."""

    @property
    def status(self) -> int:
        """The status."""
        return self.response.status

    def header(self, name: str) -> str | None:
        """Return the value of a header."""
        value = self.response.headers.get(name)
        return None if value is None else str(value).strip()

    @property
    def is_chunked(self) -> bool:
        """Whether the body has an end of its own, and no length."""
        return self.transfer_encoding == "chunked"

    @property
    def transfer_encoding(self) -> str | None:
        """The transfer coding, in lower case; with its spaces, as http.client takes `chunked` without them alone."""
        value = self.response.headers.get("Transfer-Encoding")
        return None if value is None else str(value).lower()

    @property
    def length(self) -> int | None:
        """The length of the body; None if it is not told."""
        text = self.header("Content-Length") or ""
        is_number = text.isascii() and text.isdecimal() and len(text) < 20  # noqa: PLR2004 - digits of 2**63
        return int(text) if is_number and self.transfer_encoding is None else None

    def read(self, most: int) -> bytes:
        """Return the next bytes of the body. Raises one of CUT."""
        self._deadline.start()
        try:
            data: bytes = self.response.read1(most, decode_content=False)
        except CUT:
            if not self._deadline.is_over:
                raise
        finally:
            self._deadline.pause()
        if self._deadline.is_over:  # also where the end seems good: trailers may end with the connection
            raise TimeoutError(f"no content came in for {self._deadline.seconds:g} seconds")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._deadline.cancel()
        self.response.close()
        self._pool.close()


def ask(url: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Send a GET request and follow its redirects.

    Raises one of CUT if there is no answer, and OperatorError if a redirect is not followed.
    """
    first, is_unaltered = printable(shown_url(url), None), True
    for _ in range(_MOST_REDIRECTS + 1):
        answer = _ask_once(url, {**_HEADERS, **(headers or {})})
        answer.is_unaltered = is_unaltered = is_unaltered and is_trustworthy(url)
        if answer.status not in _REDIRECTS:
            return answer
        location = answer.header("Location")
        answer.close()
        if not location:
            raise OperatorError(f"{first}: is redirected (status {answer.status}), but not told where to")
        url = _redirected(first, url, location)
    raise OperatorError(f"{first}: has more than {_MOST_REDIRECTS} redirects")


def _ask_once(url: str, headers: Mapping[str, str]) -> Answer:
    deadline = RepeatedDeadline(_WAIT_SECONDS)
    pools = bounded_pools(_pools_for(url, timeout=_TIMEOUT, retries=False), deadline)
    pool = pools.connection_from_url(url)
    deadline.start()
    try:
        response = pools.request(
            "GET", url, headers=headers, preload_content=False, decode_content=False, redirect=False
        )
    except BaseException:
        deadline.cancel()
        pool.close()
        raise
    deadline.pause()
    answer = Answer(url, response, pool, deadline)
    if deadline.is_over:  # a head that is cut short counts as a whole one in http.client
        answer.close()
        raise TimeoutError(f"no answer within {_WAIT_SECONDS:g} seconds")
    return answer


def _pools_for(url: str, **options: Any) -> urllib3.PoolManager:
    """Return pools for a URL, through the proxy of the environment. Raises OperatorError if that cannot be asked."""
    proxy = _proxy_for(url)
    if proxy is None:
        return urllib3.PoolManager(**options)
    parts = _proxy_parts(proxy)
    if parts is None:
        raise OperatorError(
            f"{printable(shown_url(proxy))} is named as a proxy by the environment, and is no http(s) URL of one; "
            "unset the variable, or name the server in no_proxy"
        )
    headers = {}
    if parts.username is not None:
        user = b"%b:%b" % (unquote_to_bytes(parts.username), unquote_to_bytes(parts.password or ""))
        headers["proxy-authorization"] = f"Basic {base64.b64encode(user).decode()}"
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return urllib3.ProxyManager(address, proxy_headers=headers, **options)


def _proxy_parts(proxy: str) -> SplitResult | None:
    """Return the parts of a proxy's URL, None if it cannot be one."""
    try:
        parts = urlsplit(proxy)
        is_one = parts.scheme.lower() in _PROXY_SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        return None
    # An `@` behind the host is the end of a password that has a `/`, `?` or `#` in it; the "host" is a part of it.
    return parts if is_one and "@" not in parts.path + parts.query + parts.fragment else None


def _proxy_for(url: str) -> str | None:
    parts, proxies = urlsplit(url), getproxies_environment()
    host = parts.hostname or ""
    if proxy_bypass(host if parts.port is None else f"{host}:{parts.port}"):
        return None
    proxy = proxies.get(parts.scheme.lower()) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy or None


def is_trustworthy(url: str) -> bool:
    """Return whether nobody on the way can change what comes from a URL, as by TLS, or from this machine."""
    parts = urlsplit(url)
    if parts.scheme.lower() == "https":
        return True
    try:
        is_loopback = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_loopback = parts.hostname == "localhost"
    return is_loopback and _proxy_for(url) is None


def _redirected(first: str, url: str, location: str) -> str:
    """Return the target of a redirect. Raises OperatorError if it is no http(s) URL, or less safe than before."""
    try:
        target = urljoin(url, location)
        checked_url(target)
    except (ValueError, OperatorError) as error:
        raise OperatorError(f"{first}: is redirected to {brief(shown_url(location))}: {error}") from error
    if urlsplit(url).scheme.lower() == "https" and urlsplit(target).scheme.lower() != "https":
        raise OperatorError(
            f"{first}: is redirected from https to {brief(shown_url(target))}, where anybody on the way could "
            "change what comes; name that URL itself, if you want it so (of an image, with --sha256)"
        )
    return target
