"""Whose request it is behind proxies: what of `X-Forwarded-For` is believed, and what is not."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.errors import ProxyAddressError
from aero_storage.http.client_address import plain_host
from aero_storage.http.forwarded import MAX_HOPS, TrustedProxies, parse_proxy

PROXIES = TrustedProxies.of(("10.0.0.0/8", "192.0.2.1", "2001:db8:1::/48", "unix"))
PEER = "10.0.0.1"

CLIENTS = {
    "no header": (None, PEER),
    "one address": ("198.51.100.7", "198.51.100.7"),
    "IPv6": ("2001:db8:2::7", "2001:db8:2::7"),
    "what the client made up": ("6.6.6.6, 198.51.100.7", "198.51.100.7"),
    "a chain of proxies": ("198.51.100.7, 192.0.2.1, 2001:db8:1::1, 10.9.9.9", "198.51.100.7"),
    "made up as if by a proxy": ("6.6.6.6, 10.0.0.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
    "proxies alone": ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
    "no spaces": ("6.6.6.6,198.51.100.7,10.0.0.2", "198.51.100.7"),
    "tabs": ("6.6.6.6,\t198.51.100.7\t", "198.51.100.7"),
    "a port": ("198.51.100.7:65000", "198.51.100.7"),
    "a port of a proxy": ("198.51.100.7, 10.0.0.2:8080", "198.51.100.7"),
    "brackets": ("[2001:db8:2::7]", "2001:db8:2::7"),
    "brackets and a port": ("[2001:db8:2::7]:123", "2001:db8:2::7"),
    "long spelling": ("2001:DB8:0002:0:0:0:0:0007", "2001:db8:2::7"),
    "IPv4 of a dual-stack proxy": ("::ffff:198.51.100.7", "198.51.100.7"),
    "IPv4 of a dual-stack proxy, in hexadecimal": ("[::ffff:c633:6407]:80", "198.51.100.7"),
    "a dual-stack proxy": ("198.51.100.7, ::FFFF:10.0.0.2", "198.51.100.7"),
    "empty": ("", PEER),
    "empty members": (", 198.51.100.7, ,, ", "198.51.100.7"),
    "broken at once": ("198.51.100.7, nonsense", PEER),
    "broken behind a proxy": ("198.51.100.7, nonsense, 10.0.0.2", "10.0.0.2"),
    "broken left of the client": ("nonsense, 198.51.100.7", "198.51.100.7"),
    "unknown": ("unknown", PEER),
    "RFC 7239's form": ('"[2001:db8:2::7]"', PEER),
    "a name": ("client.example", PEER),
    "a network": ("198.51.100.0/24", PEER),
    "a scope": ("fe80::1%eth0", PEER),
    "too many bits": ("198.51.100.256", PEER),
    "octal": ("198.051.100.7", PEER),
    "another script": ("١٩٨.51.100.7", PEER),
    "no port": ("198.51.100.7:", PEER),
    "two ports": ("198.51.100.7:1:2", PEER),
    "an open bracket": ("[2001:db8:2::7", PEER),
    "semicolons": ("198.51.100.7; 198.51.100.8", PEER),
    "a line feed": ("198.51.100.7\n", PEER),
    "unix": ("198.51.100.7, unix", PEER),
}


@pytest.mark.parametrize(("forwarded", "client"), CLIENTS.values(), ids=CLIENTS)
def test_client(forwarded: str | None, client: str) -> None:
    """The first address from the right that is not trusted is the client's; what is broken ends the search."""
    assert PROXIES.client(PEER, forwarded) == client


@pytest.mark.parametrize("peer", ["198.51.100.1", "192.0.2.2", "2001:db8:2::1", "11.0.0.1", "nonsense", ""])
def test_nobody_else_is_believed(peer: str) -> None:
    """What a peer says that is no trusted proxy counts for nothing."""
    assert PROXIES.client(peer, "198.51.100.7") == peer


@pytest.mark.parametrize("peer", [PEER, "unix", "127.0.0.1", "::1"])
def test_nobody_is_trusted_by_default(peer: str) -> None:
    """Without the setting, the peer is the client."""
    assert TrustedProxies().client(peer, "198.51.100.7") == peer
    assert not TrustedProxies().is_trusted(peer)


TRUST = {
    "address": (("192.0.2.1",), ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.2", "unix", "::192.0.2.1"]),
    "network": (("10.0.0.0/8",), ["10.0.0.0", "10.255.255.255", "::ffff:10.1.1.1"], ["9.255.255.255", "11.0.0.0"]),
    "IPv6": (("2001:db8::/32",), ["2001:db8::1", "2001:DB8:ffff::"], ["2001:db9::", "32.1.13.184"]),
    "IPv4 as IPv6": (("::ffff:10.0.0.0/104",), ["10.1.2.3", "::ffff:10.1.2.3"], ["11.0.0.0"]),
    "all IPv4": (("0.0.0.0/0",), ["192.0.2.1", "::ffff:1.2.3.4"], ["::1"]),
    "all IPv6": (("::/0",), ["::1", "2001:db8::1"], ["192.0.2.1", "::ffff:1.2.3.4"]),
    "link-local": (("fe80::/10",), ["fe80::1", "fe80::1%eth0"], ["fec0::1%eth0"]),
    "unix": (("unix",), ["unix"], ["127.0.0.1", "::1", "UNIX", ""]),
    "several": (("unix", "127.0.0.1", "::1"), ["unix", "127.0.0.1", "::1"], ["127.0.0.2"]),
}


@pytest.mark.parametrize(("texts", "trusted", "others"), TRUST.values(), ids=TRUST)
def test_trust(texts: tuple[str, ...], trusted: list[str], others: list[str]) -> None:
    """A host is trusted if its address is one that is listed; IPv4 addresses in IPv6 are IPv4 addresses."""
    proxies = TrustedProxies.of(texts)
    assert [host for host in (*trusted, *others) if proxies.is_trusted(host)] == trusted


def test_hosts_are_shown_plainly() -> None:
    """A client of a dual-stack socket is shown with the address that it has; other hosts as they are."""
    shown = {"::ffff:192.0.2.7": "192.0.2.7", "::ffff:c000:207": "192.0.2.7"}
    others = ["192.0.2.7", "2001:db8::7", "::1", "unix", "fe80::1%eth0", "::ffff:nonsense", "::ffff:1:2:3", ""]
    assert {host: plain_host(host) for host in (*shown, *others)} == shown | {host: host for host in others}


@pytest.mark.parametrize(
    ("text", "usual"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("2001:DB8:0:0::/32", "2001:db8::/32"),
        ("::FFFF:10.0.0.0/104", "10.0.0.0/8"),
        ("Unix", "unix"),
    ],
)
def test_usual_spelling(text: str, usual: str) -> None:
    """However it is written, a proxy has one name."""
    assert parse_proxy(text) == usual == parse_proxy(usual)


def test_bits_after_the_prefix() -> None:
    """Who writes a host where a network belongs is told what the network would be."""
    with pytest.raises(ProxyAddressError, match=r"10\.0\.0\.0/8$"):
        parse_proxy("10.1.0.0/8")


def test_work_is_bounded() -> None:
    """Of a header of any length only so many addresses are looked at, and what is known then counts."""
    hops = [f"10.{number >> 8}.{number & 255}.1" for number in range(2000)]
    assert PROXIES.client(PEER, ", ".join(["198.51.100.7", *hops])) == hops[-MAX_HOPS]
    assert PROXIES.client(PEER, ", ".join(["198.51.100.7", *hops[: MAX_HOPS - 1]])) == "198.51.100.7"
    assert PROXIES.client(PEER, ", ".join(["198.51.100.7", *hops[:MAX_HOPS]])) == hops[0]
    assert PROXIES.client(PEER, "198.51.100.7" + "," * 10_000) == PEER
    assert PROXIES.client(PEER, "1" * 100_000) == PEER


ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)
TRUSTED = st.ip_addresses(v=4, network="10.0.0.0/8") | st.ip_addresses(v=6, network="2001:db8:1::/48")
STRANGERS = ADDRESSES.filter(
    lambda one: not PROXIES.is_trusted(str(one)) and getattr(one, "ipv4_mapped", None) is None
)


@given(forged=st.text(max_size=60), client=STRANGERS, hops=st.lists(TRUSTED, max_size=5), peer=TRUSTED)
def test_what_a_client_writes_changes_nothing(forged: str, client: object, hops: list[object], peer: object) -> None:
    """Each proxy appends whom it was connected from: the client's address is found, whatever the client has sent."""
    header = ", ".join([forged, str(client), *map(str, hops)])
    assert PROXIES.client(str(peer), header) == str(client)


@given(peer=st.text(max_size=60) | ADDRESSES.map(str), header=st.text(max_size=200) | st.text("0123456789abf:.,[] "))
def test_any_text(peer: str, header: str) -> None:
    """No text raises, and what comes of it is the peer as it was, or an address in its usual spelling."""
    client = PROXIES.client(peer, header)
    assert client == peer or client == str(ip_address(client))
