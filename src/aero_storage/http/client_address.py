"""Identifies clients by their addresses."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

UNIX = "unix"
"""The host of a peer on a UNIX socket."""

_MAPPED = "::ffff:"
_NETWORK_BITS = 64


def plain_host(host: str) -> str:
    """Return a peer's host; of an IPv4 client on a dual-stack socket its IPv4 address (RFC 4291 §2.5.5.2)."""
    if not host.startswith(_MAPPED):
        return host
    mapped = getattr(_address(host), "ipv4_mapped", None)
    return host if mapped is None else str(mapped)


def host_of(peer: object) -> str:
    """Return the host of a peer's address as logs show it; a UNIX socket has none."""
    return plain_host(getattr(peer, "host", None) or UNIX)


@lru_cache(4096)  # clients come back, and parsing takes 20 times as long
def client_of(host: str) -> str:
    """Return the identity of a client: its IPv4 address, or its IPv6 network of 64 bits.

    A subscriber has at least 2^64 addresses in such a network (RFC 6177 §2). A link-local address (`fe80::1%eth0`)
    keeps its interface. A host that is not an address is returned unchanged.
    """
    text, percent, interface = plain_host(host).partition("%")
    address = _address(text)
    if not isinstance(address, IPv6Address):
        return text if address is not None else host
    network = IPv6Address(int(address) >> _NETWORK_BITS << _NETWORK_BITS)
    return f"{network}/{_NETWORK_BITS}{percent}{interface}"


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
