"""Who a client is, by the address that it comes from."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

UNIX = "unix"
"""What stands for the host of a peer on a UNIX socket."""

_MAPPED = "::ffff:"
_NETWORK_BITS = 64


def plain_host(host: str) -> str:
    """A peer's host as it is shown: an IPv4 client of a dual-stack socket by its IPv4 address (RFC 4291 §2.5.5.2)."""
    if not host.startswith(_MAPPED):
        return host
    mapped = getattr(_address(host), "ipv4_mapped", None)
    return host if mapped is None else str(mapped)


def client_of(host: str) -> str:
    """What all addresses of one client have in common: an IPv4 address, or an IPv6 network of 64 bits.

    A subscriber has 2^64 addresses in such a network at the least (RFC 6177 §2). Of a link-local address
    (`fe80::1%eth0`) the interface stays. A host that is no address is its own client.
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
