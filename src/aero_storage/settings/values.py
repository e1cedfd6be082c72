"""Parsers of the values of settings: from a text to a number, an address, a path, or an error that says the rule."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs

from aero_storage.errors import ProxyAddressError
from aero_storage.http.forwarded import parse_proxy
from aero_storage.http.shown_urls import is_like_url, shown_url
from aero_storage.settings.origin_url import OriginUrl, OriginUrlError, parse_origin_url

T = TypeVar("T")
_MAX_INTEGER = 2**63 - 1
_MAX_PORT = 65535
_SECTOR, _MAX_CHUNK_SIZE = 512, 64 * 1024 * 1024  # limits of the chunked format and of its clients (http.md §6)
_MIN_BLOCK, _MAX_BLOCK = 64 * 1024, 16 * 1024 * 1024
_MISTYPED = re.compile(r"(?:s3|gs|az):(?!//)", re.IGNORECASE)
NONE = "none"
"""The value of a limit that is none."""

_TRUE = {"1", "true", "t", "yes", "y", "on"}


class UnfitError(ValueError):
    """A text is not a valid value of its setting; the message completes "… is not".

    `shown` is the text without what may be a credential, where it is a URL.
    """

    def __init__(self, rule: str, shown: str | None = None) -> None:
        super().__init__(rule)
        self.shown = shown


def _reader(
    rule: str, pattern: str, convert: Callable[[str], T], fits: Callable[[T], bool] = lambda _: True
) -> Callable[[str], T]:
    """Return a parser: the text must match completely (ASCII, any case), and its converted value must be valid."""

    def parse(text: str) -> T:
        if re.fullmatch(pattern, text, re.ASCII | re.IGNORECASE | re.DOTALL) and fits(value := convert(text)):
            return value
        raise UnfitError(rule)

    return parse


def one_of(*words: str, convert: Callable[[str], str] = str) -> Callable[[str], str]:
    """Return a parser of one of these words."""
    return _reader(f"one of {', '.join(words)}", ".*", convert, words.__contains__)


def whole(least: int, most: int = _MAX_INTEGER) -> Callable[[str], int]:
    """Return a parser of a whole number."""
    # int() alone accepts "1_000", "+8" and the digits of every script, and raises for 4,301 of them.
    rule = f"a whole number from {least} to {most}"
    return _reader(rule, "[0-9]{1,99}", int, lambda number: least <= number <= most)


def whole_or_none(least: int) -> Callable[[str], int | None]:
    """Return a parser of a whole number, or of the word for no limit."""
    rule, number = f"a whole number from {least} to {_MAX_INTEGER}, or {NONE}", whole(least)

    def parse(text: str) -> int | None:
        if text.lower() == NONE:
            return None
        try:
            return number(text)
        except UnfitError:
            raise UnfitError(rule) from None

    return parse


@attrs.frozen
class ListenAddress:
    """A host (IPv6 without brackets) and a TCP port, 0 to 65535; `str()` returns the text form."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_bindable(address: ListenAddress) -> bool:
    try:
        ipaddress.ip_address(address.host)
    except ValueError:  # a host name, unless it only looks like an address
        return address.port <= _MAX_PORT and ":" not in address.host and bool(address.host.strip("0123456789."))
    return address.port <= _MAX_PORT


def images_root(text: str) -> Path | OriginUrl:
    """Parse a directory, or the URL of a prefix in an object store."""
    if _MISTYPED.match(text):
        raise UnfitError("a URL such as s3://bucket/prefix: two slashes follow the colon", shown_url(text))
    if not is_like_url(text):
        return path(text)
    try:
        return parse_origin_url(text)
    except OriginUrlError as error:
        raise UnfitError(str(error), shown_url(text)) from None


block_size = _reader(
    f"a power of two from {_MIN_BLOCK} to {_MAX_BLOCK}",
    "[0-9]{1,99}",
    int,
    lambda size: _MIN_BLOCK <= size <= _MAX_BLOCK and size.bit_count() == 1,
)
chunk_size = _reader(
    f"a multiple of {_SECTOR} from {_SECTOR} to {_MAX_CHUNK_SIZE}",
    "[0-9]{1,99}",
    int,
    lambda size: _SECTOR <= size <= _MAX_CHUNK_SIZE and not size % _SECTOR,
)
listen_address = _reader(
    f"host:port or [IPv6]:port with a port from 0 to {_MAX_PORT}",
    r"(\[[0-9a-f.]*:[0-9a-f:.]+(%[a-z0-9_.-]+)?\]|[a-z0-9_.-]+):[0-9]{1,5}",
    lambda text: ListenAddress(text.rpartition(":")[0].strip("[]"), int(text.rpartition(":")[2])),
    _is_bindable,
)
origin = _reader(
    "*, null or scheme://host[:port], such as https://app.example.com",
    # No user, path or wildcard: browsers never send such an Origin, so it would never match.
    r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.~-]+)(:[0-9]{1,5})?/?|\*|null",
    str,
)
visible_ascii = _reader("one or more visible ASCII characters without white space", "[!-~]+", str)
path = _reader("a path: something, without NUL", r"[^\0]+", Path)
endpoint = _reader("a Twisted endpoint description, such as tcp:8080", ".+", str, str.isprintable)
decimal = _reader("a decimal number, 0 or more, such as 0.5", r"[0-9]+(\.[0-9]+)?", float, math.isfinite)
seconds = _reader(
    "a decimal number over 0, such as 0.5",
    r"[0-9]+(\.[0-9]+)?",
    float,
    lambda number: math.isfinite(number) and number > 0,
)
boolean = _reader(
    "one of 1 true t yes y on, 0 false f no n off",
    "1|true|t|yes|y|on|0|false|f|no|n|off",
    lambda text: text.lower() in _TRUE,
)
level = one_of("debug", "info", "warn", "error", "critical", convert=str.lower)
policy = one_of("same-origin", "same-site", "cross-origin")


def proxy(text: str) -> str:
    """Parse an address, a network, or `unix`."""
    try:
        return parse_proxy(text)
    except ProxyAddressError as error:
        raise UnfitError(str(error)) from None
