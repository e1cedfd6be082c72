"""The server and the image to examine, parsed from a URL. Pure."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, quote, urlsplit

import attrs

from aero_storage.errors import OperatorError
from aero_storage.http.identifiers import NAME_RULE, is_image_id
from aero_storage.http.shown_urls import shown_url, without_secrets

_PORTS = {"http": 80, "https": 443}
_IMAGES = "/v1/images"
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")
_IMAGE_PATH = re.compile(
    r"(?P<prefix>.*?)/v1/images(?:/(?P<id>[^/]+)(?:/(?:data|meta|(?:chunked|versions)(?:/.*)?))?)?"
)


@attrs.frozen
class Target:
    """A server: `host` without brackets, `prefix` in front of its paths, empty or `/…`."""

    scheme: str
    host: str
    port: int
    prefix: str = ""

    @property
    def url(self) -> str:
        """The base URL, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return shown_url(f"{self.scheme}://{host}{port}{self.prefix}")

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine, by a loopback address or name."""
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return self.host.lower().removesuffix(".") == "localhost"


def images_path(image_id: str | None = None, below: str = "") -> str:
    """Return the path of the list, of an image, or of a resource below one: `/v1/images/win98/meta`."""
    return _IMAGES if image_id is None else f"{_IMAGES}/{quote(image_id)}{below}"


def parse_target(url: str) -> tuple[Target, str | None]:
    """Parse a base URL, or the URL of the list, of an image or its chunks; return the server, and the image if any.

    Raises OperatorError with the fault of the URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OperatorError(
            f"{shown_url(url)!r} is no URL{'' if '@' in url else f': {without_secrets(str(error))}'}"
        ) from None
    _check(url, parts)
    match = _IMAGE_PATH.fullmatch(parts.path.rstrip("/"))
    prefix, image = (match["prefix"], match["id"]) if match else (parts.path.rstrip("/"), None)
    if image is not None and not is_image_id(image):
        raise OperatorError(f"{shown_url(url)!r} names the image {shown_url(image)!r}, but an id {NAME_RULE}")
    return Target(parts.scheme, parts.hostname or "", port or _PORTS[parts.scheme], prefix), image


def _check(url: str, parts: SplitResult) -> None:
    if parts.scheme not in _PORTS or not parts.hostname:
        raise OperatorError(f"{shown_url(url)!r} is no http or https URL; write it like https://images.example.com")
    if parts.username is not None or parts.password is not None:
        raise OperatorError(
            "a URL with a user's name would show a password; leave it out (doctor has --header for it)"
        )
    if parts.query or parts.fragment:
        raise OperatorError(f"{shown_url(url)!r} is followed by a query or fragment; leave it out")
    if not parts.netloc.isascii() or not parts.netloc.isprintable() or " " in parts.netloc:
        raise OperatorError(
            f"{shown_url(url)!r} has a host of other characters than ASCII; write it as browsers send it (xn--…)"
        )
    if not _PATH.fullmatch(parts.path):
        raise OperatorError(f"{shown_url(url)!r} has a path with characters that have to be percent-encoded")
