"""One table of settings, from which flags, variables, file keys, help and documentation are derived.

`Settings` is that table: a field is a setting, its metadata define its parser and its help text.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs

from aero_storage.errors import ProxyAddressError
from aero_storage.http.forwarded import parse_proxy

T = TypeVar("T")
_MAX_INTEGER = 2**63 - 1
_MAX_PORT = 65535
_MAX_WORKERS = 128  # about five descriptors each; a process may have 1,024
_SECTOR, _MAX_CHUNK_SIZE = 512, 64 * 1024 * 1024  # limits of the chunked format and of its clients (http.md §6)
_KINDS: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_TRUE = {"1", "true", "t", "yes", "y", "on"}


class UnfitError(ValueError):
    """A text is not a valid value of its setting; the message completes "… is not"."""


def _reader(
    rule: str, pattern: str, convert: Callable[[str], T], fits: Callable[[T], bool] = lambda _: True
) -> Callable[[str], T]:
    """Return a parser: the text must match completely (ASCII, any case), and its converted value must be valid."""

    def parse(text: str) -> T:
        if re.fullmatch(pattern, text, re.ASCII | re.IGNORECASE | re.DOTALL) and fits(value := convert(text)):
            return value
        raise UnfitError(rule)

    return parse


def _one_of(*words: str, convert: Callable[[str], str] = str) -> Callable[[str], str]:
    return _reader(f"one of {', '.join(words)}", ".*", convert, words.__contains__)


def _whole(least: int, most: int = _MAX_INTEGER) -> Callable[[str], int]:
    # int() alone accepts "1_000", "+8" and the digits of every script, and raises for 4,301 of them.
    rule = f"a whole number from {least} to {most}"
    return _reader(rule, "[0-9]{1,99}", int, lambda number: least <= number <= most)


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


_chunk_size = _reader(
    f"a multiple of {_SECTOR} from {_SECTOR} to {_MAX_CHUNK_SIZE}",
    "[0-9]{1,99}",
    int,
    lambda size: _SECTOR <= size <= _MAX_CHUNK_SIZE and not size % _SECTOR,
)
_listen_address = _reader(
    f"host:port or [IPv6]:port with a port from 0 to {_MAX_PORT}",
    r"(\[[0-9a-f.]*:[0-9a-f:.]+(%[a-z0-9_.-]+)?\]|[a-z0-9_.-]+):[0-9]{1,5}",
    lambda text: ListenAddress(text.rpartition(":")[0].strip("[]"), int(text.rpartition(":")[2])),
    _is_bindable,
)
_origin = _reader(
    "*, null or scheme://host[:port], such as https://app.example.com",
    # No user, path or wildcard: browsers never send such an Origin, so it would never match.
    r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.~-]+)(:[0-9]{1,5})?/?|\*|null",
    str,
)
_token = _reader("one or more visible ASCII characters without white space", "[!-~]+", str)
_path = _reader("a path: something, without NUL", r"[^\0]+", Path)
_endpoint = _reader("a Twisted endpoint description, such as tcp:8080", ".+", str, str.isprintable)
_decimal = _reader("a decimal number, 0 or more, such as 0.5", r"[0-9]+(\.[0-9]+)?", float, math.isfinite)
_seconds = _reader(
    "a decimal number over 0, such as 0.5",
    r"[0-9]+(\.[0-9]+)?",
    float,
    lambda number: math.isfinite(number) and number > 0,
)
_boolean = _reader(
    "one of 1 true t yes y on, 0 false f no n off",
    "1|true|t|yes|y|on|0|false|f|no|n|off",
    lambda text: text.lower() in _TRUE,
)
_level = _one_of("debug", "info", "warn", "error", "critical", convert=str.lower)
_policy = _one_of("same-origin", "same-site", "cross-origin")


def _proxy(text: str) -> str:
    try:
        return parse_proxy(text)
    except ProxyAddressError as error:
        raise UnfitError(str(error)) from None


def setting(parse: Callable[[str], T], default: str, metavar: str, meaning: str, **exceptions: str) -> T:
    """Return a field with a default, given as text; `variable=` is for an irregular name of its variable."""
    value = parse(default)
    row = {"parse": parse, "kind": _KINDS.get(type(value), "string"), "metavar": metavar, "help": meaning}
    return attrs.field(default=value, metadata={**row, "default": default, **exceptions})


def optional(parse: Callable[[str], T], metavar: str, meaning: str, *, is_secret: bool = False) -> T | None:
    """Return a field that is None unless given; a secret one is never shown."""
    row = {"parse": parse, "kind": "string", "metavar": metavar, "help": meaning, "is_secret": is_secret}
    field: T | None = attrs.field(default=None, repr=not is_secret, metadata=row)
    return field


def several(parse: Callable[[str], T], metavar: str, meaning: str) -> tuple[T, ...]:
    """Return a field with any number of items, each parsed by `parse`."""
    row = {"parse": parse, "kind": "array of strings", "metavar": metavar, "help": meaning}
    return attrs.field(default=(), metadata=row)


@attrs.frozen
class Settings:
    """Every setting, parsed: bytes, seconds and counts as numbers; paths absolute once resolved."""

    listen_addr: ListenAddress = setting(
        _listen_address, "0.0.0.0:8080", "ADDRESS", "Listen at host:port or [IPv6]:port; port 0 is any free port."
    )
    endpoint: tuple[str, ...] = several(
        _endpoint, "DESCRIPTION", "Listen at this Twisted endpoint, such as unix:/run/aero, instead of --listen-addr."
    )
    workers: int = setting(
        _whole(0, _MAX_WORKERS), "1", "N", "Run this many worker processes; 0 is one for each core."
    )
    trusted_proxy: tuple[str, ...] = several(
        _proxy,
        "CIDR",
        "Trust X-Forwarded-For of peers with this address, in this network, or on a UNIX socket (unix).",
    )
    cors_origin: tuple[str, ...] = several(
        _origin,
        "ORIGIN",
        "Allow pages of this origin to read, with credentials; * or no origin: all pages, without credentials.",
    )
    cross_origin_resource_policy: str = setting(
        _policy, "same-site", "POLICY", "Allow same-origin, same-site or cross-origin pages to embed images."
    )
    images_root: Path = setting(
        _path, "./images", "DIR", "Serve the images in this directory.", variable="AERO_STORAGE_IMAGE_ROOT"
    )
    require_manifest: bool = setting(
        _boolean, "false", "", "Serve only what manifest.json lists, never a bare directory; do so in production."
    )
    log_level: str = setting(
        _level, "info", "LEVEL", "Log events of this level or above: debug, info, warn, error or critical."
    )
    request_log: bool = setting(_boolean, "true", "", "Log one line of level info for each request.")
    max_concurrent_bytes_requests: int = setting(
        _whole(0), "64", "N", "Answer at most this many requests for image bytes at once; 0 is no limit."
    )
    bytes_queue_timeout_secs: float = setting(
        _decimal, "1", "SECONDS", "Queue requests over that limit for this long before a 429; 0 is no queue."
    )
    header_timeout_secs: float = setting(
        _seconds, "20", "SECONDS", "Allow this long for a request head to arrive; then answer 408."
    )
    idle_timeout_secs: float = setting(_seconds, "60", "SECONDS", "Close connections that are idle for this long.")
    max_connections: int = setting(
        _whole(0), "4096", "N", "Serve at most this many connections; answer others 503. 0 is no limit."
    )
    max_connections_per_client: int = setting(
        _whole(0),
        "0",
        "N",
        "Limit the connections (of a trusted proxy: requests) of one IPv4 address or IPv6 /64; 0 is no limit.",
    )
    stall_timeout_secs: float = setting(
        _decimal,
        "60",
        "SECONDS",
        "Abort responses whose clients accept no data for this long; slow clients are not affected. 0 is never.",
    )
    max_bytes_per_second: int = setting(
        _whole(0), "0", "BYTES", "Limit each connection to this many image bytes a second; 0 is no limit."
    )
    max_total_bytes_per_second: int = setting(
        _whole(0),
        "0",
        "BYTES",
        "Limit all connections of a process together to this many image bytes a second; 0 is no limit.",
    )
    drain_delay_secs: float = setting(
        _decimal,
        "0",
        "SECONDS",
        "On SIGTERM, keep serving for this long with /readyz at 503, so that load balancers stop sending traffic.",
    )
    shutdown_grace_secs: float = setting(
        _decimal, "30", "SECONDS", "Then wait this long for responses under way; a second signal ends the wait."
    )
    max_range_bytes: int = setting(_whole(1), "8388608", "BYTES", "Answer ranges longer than this with 413.")
    max_chunk_bytes: int = setting(_whole(1), "8388608", "BYTES", "Answer chunk files longer than this with 413.")
    virtual_chunks: bool = setting(
        _boolean,
        "false",
        "",
        "Serve images without published chunks as virtual chunks, cut from the raw file on request.",
    )
    virtual_chunk_bytes: int = setting(
        _chunk_size,
        "4194304",
        "BYTES",
        "The size of virtual chunks, a multiple of 512; an image's recommended chunk size takes precedence.",
    )
    open_ended_ranges: str = setting(
        _one_of("stream", "limit"),
        "stream",
        "MODE",
        "Handle bytes=N- by stream (send up to the end) or limit (apply --max-range-bytes).",
    )
    public_cache_max_age_secs: int = setting(
        _whole(0), "3600", "SECONDS", "Allow shared caches to store the bytes of public images for this long."
    )
    cors_preflight_max_age_secs: int = setting(
        _whole(0), "86400", "SECONDS", "Allow browsers to cache preflight responses for this long."
    )
    require_range: bool = setting(
        _boolean, "false", "", "Answer a GET of an image without a Range with 416 instead of the whole image."
    )
    express: bool = setting(
        _boolean, "true", "", "Remember decisions for requests that differ in range alone; off, answers are the same."
    )
    disable_metrics: bool = setting(_boolean, "false", "", "Do not serve /metrics, even if a token is set.")
    metrics_auth_token: str | None = optional(
        _token, "TOKEN", "Require this bearer token at /metrics; ps shows it, so prefer a file.", is_secret=True
    )
    metrics_auth_token_file: Path | None = optional(
        _path, "FILE", "Read that token from this file of at most 4 KiB; surrounding white space is ignored."
    )
    image_metrics_max_ids: int = setting(
        _whole(0),
        "100",
        "N",
        "Count the bytes of this many images by id, and of all others together.",
        variable="AERO_IMAGE_METRICS_MAX_IDS",
    )


@attrs.frozen
class Setting:
    """A row of the table: names, parser, and help text of one setting."""

    name: str
    flag: str  # with its dashes
    twin: str  # the --no-… of a boolean, or empty
    variable: str
    key: str  # in the configuration file
    help: str
    metavar: str
    kind: str  # one of _KINDS
    is_boolean: bool
    is_list: bool
    parse: Callable[[str], object]
    default: str = ""  # as text; empty where nothing is the default
    is_secret: bool = False


def _row(name: str, kind: str, **rest: Any) -> Setting:
    dashed, is_boolean = name.replace("_", "-"), kind == "boolean"
    names = {"key": name, "flag": f"--{dashed}", "variable": f"AERO_STORAGE_{name.upper()}", **rest}
    twin = f"--no-{dashed}" if is_boolean else ""
    return Setting(name, kind=kind, is_boolean=is_boolean, is_list=kind == "array of strings", twin=twin, **names)


CONFIG = _row("config", "string", key="", help="Read settings from this TOML file.", metavar="FILE", parse=_path)


def table() -> tuple[Setting, ...]:
    """Return the settings in the order of the help."""
    return tuple(_row(field.name, **field.metadata) for field in attrs.fields(Settings))
