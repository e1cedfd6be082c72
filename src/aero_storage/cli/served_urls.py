"""The URLs under which browsers reach a daemon, from the addresses that it listens at."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import attrs

EVERYWHERE, LOOPBACK = "0.0.0.0", "127.0.0.1"  # noqa: S104 - only where it is asked for
_FAMILIES = {EVERYWHERE: socket.AF_INET, "::": socket.AF_INET6}
_OWN = {socket.AF_INET: LOOPBACK, socket.AF_INET6: "::1"}
_LOOPBACK = ("localhost", "127.", "::1")
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of documentation (RFC 5737, RFC 3849): the way to them is asked for, and nothing is sent."""


@attrs.frozen
class ServedUrl:
    """A URL of the daemon, and whether other machines reach it."""

    url: str
    is_reachable: bool


def served_urls(text: str, *, is_secure: bool) -> Iterator[ServedUrl]:
    """Yield the URLs of one address, `host:port` or `unix:…`: of this machine first, then of its network."""
    if text.startswith("unix:"):
        yield ServedUrl(text, is_reachable=False)
        return
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    family = _FAMILIES.get(host)
    hosts = [host] if family is None else [_OWN[family], *lan_hosts(family)]
    for one in hosts:
        scheme, shown = "https" if is_secure else "http", f"[{one}]" if ":" in one else one
        yield ServedUrl(f"{scheme}://{shown}:{port}/", is_reachable=not one.startswith(_LOOPBACK))


def lan_hosts(family: socket.AddressFamily) -> list[str]:
    """Return the address by which this machine would reach others; none without a network."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ELSEWHERE[family], 9))
        except OSError:
            return []
        host: str = probe.getsockname()[0]
    return [] if host.startswith(_LOOPBACK) or host in _FAMILIES else [host]
