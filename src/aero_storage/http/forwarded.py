"""Whose request it is behind proxies: `X-Forwarded-For`, as far as it comes from hops that are trusted.

The header is no standard, but what every proxy writes: each appends the address that it was connected from. So only
its right end is known to be true, up to the first address that no trusted proxy has: whatever stands left of it, that
one may have made up.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import attrs

from aero_storage.errors import ProxyAddressError
from aero_storage.http.client_address import UNIX

MAX_HOPS = 32
"""Addresses of `X-Forwarded-For` that are looked at, from the right."""

_MAPPED = "::ffff:"
_MAX_ADDRESS = 45  # IPv6 with an IPv4 address at its end
_MAPPED_BITS = 96
_NETWORK = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:/[0-9]{1,3})?")  # no netmasks, which ipaddress reads in two ways
_HOP = re.compile(
    rf"(?:\[([0-9A-Fa-f:.]{{2,{_MAX_ADDRESS}}})\]|([0-9.]{{7,15}}))(?::[0-9]{{1,5}})?|([0-9A-Fa-f:.]{{2,{_MAX_ADDRESS}}})"
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def parse_proxy(text: str) -> str:
    """The usual spelling of an address, of a network in CIDR notation, or `unix`. Raises ProxyAddressError."""
    if text.lower() == UNIX:
        return UNIX
    network = _network(text)
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


@attrs.frozen(eq=False)
class TrustedProxies:
    """Whose word on where a request came from is taken."""

    _networks: tuple[Network, ...] = ()
    _unix: bool = False

    @classmethod
    def of(cls, texts: tuple[str, ...]) -> TrustedProxies:
        """Those that `parse_proxy` can read. Raises ProxyAddressError."""
        names = tuple(map(parse_proxy, texts))
        return cls(tuple(ip_network(name) for name in names if name != UNIX), UNIX in names)

    def is_trusted(self, host: str) -> bool:
        """Whether a peer is one of them; `host` is its address, or `unix`."""
        if host == UNIX:
            return self._unix
        return bool(self._networks) and _holds(self, host)

    def client(self, peer: str, forwarded: str | None) -> str:
        """Whose request it is that `peer` has sent with this `X-Forwarded-For`, lines given twice joined by commas.

        That is the first address from the right that is not trusted; the leftmost if all are. Where the header breaks
        off, or has something else than an address, it is the last one that is known, at worst that of the peer.
        """
        if forwarded is None or not self.is_trusted(peer):
            return peer
        known = peer
        for hop in reversed(forwarded.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
            text = hop.strip(" \t")
            address = _hop(text) if text else known  # empty members of a list count for nothing (RFC 9110 §5.6.1)
            if address is None:
                break
            known = address
            if not self.is_trusted(known):
                break
        return known

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _hop(text: str) -> str | None:
    """The address in a member of `X-Forwarded-For`, which some proxies give a port."""
    match = _HOP.fullmatch(text)
    return None if match is None or match.lastindex is None else _usual(match[match.lastindex])


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


# Clients come back, and there are few proxies: to remember takes a thirtieth of the time that reading takes. What is
# remembered is short, whoever sends it.
@lru_cache(4096)
def _usual(text: str) -> str | None:
    address = _address(text)
    return None if address is None else str(address)


@lru_cache(4096)
def _holds(proxies: TrustedProxies, host: str) -> bool:
    address = _address(host.partition("%")[0])  # a link-local peer has the interface after it
    return address is not None and proxies._has(address)  # noqa: SLF001 - a cached method, which attrs cannot have


def _network(text: str) -> Network:
    if not _NETWORK.fullmatch(text):
        raise ProxyAddressError("an IP address, a network such as 10.0.0.0/8, or unix")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ProxyAddressError("an IP address, a network such as 10.0.0.0/8, or unix") from None
    if "/" in text and network.network_address != ip_address(text.partition("/")[0]):
        raise ProxyAddressError(f"a network: it has bits set after its prefix; without them it is {network}")
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
