"""Requests of one client: who counts as one, and what is given back."""

from __future__ import annotations

import pytest

from aero_storage.delivery.client_limits import ClientLimiter


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
        ("fe80::1%eth0", "fe80::2%eth0", "fe80::1%eth1"),
    ],
)
def test_limit(one: str, same: str, other: str) -> None:
    """All addresses of a client share its limit; others have their own, and each request that ends makes room."""
    shares = ClientLimiter(2, lambda _: False)
    first, second = shares.take(one), shares.take(same)
    assert first
    assert second
    assert shares.take(one) is None
    elsewhere = shares.take(other)
    assert elsewhere
    first()
    third = shares.take(same)
    assert third
    assert shares.take(one) is None
    for give_back in (second, third, elsewhere):
        give_back()
    assert not shares._taken  # noqa: SLF001


@pytest.mark.parametrize("host", [None, "unix", "10.0.0.1"])
def test_proxies_have_no_limit(host: str | None) -> None:
    """Who speaks for many, or cannot be told from others, is not counted."""
    shares = ClientLimiter(1, lambda host: host == "10.0.0.1")
    for _ in range(5):
        assert shares.take(host)


def test_no_limit() -> None:
    """0 is any number."""
    shares = ClientLimiter(0, lambda _: False)
    assert all(shares.take("192.0.2.1") for _ in range(1000))
