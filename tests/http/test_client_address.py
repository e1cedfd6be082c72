"""Who a client is, by its address."""

from __future__ import annotations

import pytest

from aero_storage.http.client_address import client_of, plain_host


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:0:1", "0.0.0.1"),  # in hexadecimal digits
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("unix", "unix"),
    ],
)
def test_shown(host: str, shown: str) -> None:
    """A client of IPv4 that came by a dual-stack socket is shown as such, all others as they are."""
    assert plain_host(host) == shown


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64%eth0"),
        ("fe80::1%eth1", "fe80::/64%eth1"),
        ("somewhere", "somewhere"),
        ("some%where", "some%where"),
        ("", ""),
    ],
)
def test_client(host: str, client: str) -> None:
    """An IPv4 address is a client, and so is an IPv6 network of 64 bits on one link."""
    assert client_of(host) == client
