"""The client's address behind proxies, by the trusted part of `X-Forwarded-For`.

The header is a convention, not a standard: each proxy appends the address of its peer. So it can be trusted from the
right end up to the first address that is not a trusted proxy; that client may have forged everything left of it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import attrs

from aero_storage.errors import ProxyAddressError
from aero_storage.http.client_address import UNIX

MAX_HOPS = 32
"""Limit of the addresses of `X-Forwarded-For` that are read, from the right."""

_MAPPED = "::ffff:"
_MAX_ADDRESS = 45  # IPv6 that ends in an IPv4 address
_MAPPED_BITS = 96
_NETWORK = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:/[0-9]{1,3})?")  # no netmasks: ipaddress reads them in two ways
_HOP = re.compile(
    rf"(?:\[([0-9A-Fa-f:.]{{2,{_MAX_ADDRESS}}})\]|([0-9.]{{7,15}}))(?::[0-9]{{1,5}})?|([0-9A-Fa-f:.]{{2,{_MAX_ADDRESS}}})"
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def parse_proxy(text: str) -> str:
    """Return the canonical form of an address, of a network in CIDR notation, or `unix`. Raises ProxyAddressError."""
    if text.lower() == UNIX:
        return UNIX
    network = _network(text)
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


@attrs.frozen(eq=False)
class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is trusted."""

    _networks: tuple[Network, ...] = ()
    _unix: bool = False

    @classmethod
    def of(cls, texts: tuple[str, ...]) -> TrustedProxies:
        """Make it from texts for `parse_proxy`. Raises ProxyAddressError."""
        names = tuple(map(parse_proxy, texts))
        return cls(tuple(ip_network(name) for name in names if name != UNIX), UNIX in names)

    def is_trusted(self, host: str) -> bool:
        """Return whether a peer is a trusted proxy; `host` is its address, or `unix`."""
        if host == UNIX:
            return self._unix
        return bool(self._networks) and _holds(self, host)

    def client(self, peer: str, forwarded: str | None) -> str:
        """Return the client of a request from `peer` with this `X-Forwarded-For`, repeated lines joined by commas.

        It is the first address from the right that is not trusted, or the leftmost if all are. At the limit, or at a
        member that is not an address, it is the last address read, at least that of the peer.
        """
        if forwarded is None or not self.is_trusted(peer):
            return peer
        known = peer
        for hop in reversed(forwarded.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
            text = hop.strip(" \t")
            address = _hop(text) if text else known  # empty members of a list are ignored (RFC 9110 §5.6.1)
            if address is None:
                break
            known = address
            if not self.is_trusted(known):
                break
        return known

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _hop(text: str) -> str | None:
    """Return the address in a member of `X-Forwarded-For`, to which some proxies add a port."""
    match = _HOP.fullmatch(text)
    return None if match is None or match.lastindex is None else _usual(match[match.lastindex])


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


# Clients come back, and there are few proxies: a cache hit takes a thirtieth of the time of parsing. The cached texts
# are short, as the caller limits them.
@lru_cache(4096)
def _usual(text: str) -> str | None:
    address = _address(text)
    return None if address is None else str(address)


@lru_cache(4096)
def _holds(proxies: TrustedProxies, host: str) -> bool:
    address = _address(host.partition("%")[0])  # a link-local peer has its interface behind it
    return address is not None and proxies._has(address)  # noqa: SLF001 - a cached method; attrs classes cannot have one


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
