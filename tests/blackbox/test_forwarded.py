"""Whose request the log shows: the peer's, or, where the peer is a trusted proxy, that of who is behind it."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running, until
from tests.blackbox.raw_http import RawConnection, head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon

TARGETS = ["/v1/images/disk", "/v1/images/disk/meta", "/healthz", "/nothing"]


@pytest.fixture(scope="module")
def behind(small_home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon that trusts its peers, on TCP and on a UNIX socket."""
    path = small_home("behind")
    addresses = ("--endpoint", "tcp:0:interface=127.0.0.1", "--endpoint", f"unix:{path / 'address'}")
    with running(path, *addresses, "--trusted-proxy", "127.0.0.1,10.0.0.0/8", "--trusted-proxy", "unix") as daemon:
        yield daemon


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([], "127.0.0.1"),
        (["192.0.2.7"], "192.0.2.7"),
        (["6.6.6.6, 192.0.2.7, 10.1.1.1"], "192.0.2.7"),
        (["6.6.6.6", "192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7", "10.1.1.1"], "192.0.2.7"),
        (["[2001:DB8::7]:443"], "2001:db8::7"),
        (['192.0.2.7", "level": "error'], "127.0.0.1"),
    ],
)
def test_trusted_proxy(behind: Daemon, target: str, lines: list[str], client: str) -> None:
    """The client is whom the proxies say they were connected from, on every route, and nothing but an address."""
    _, line = behind.traced(target, fields=tuple(("X-Forwarded-For", value) for value in lines))
    assert line["client"] == client


def test_refused_head(behind: Daemon) -> None:
    """A request that is refused before it is looked at has a client as well."""
    _, line = behind.traced("/healthz", fields=(("X-Forwarded-For", "192.0.2.7"),), host=None)
    assert (line["status"], line["client"]) == (400, "192.0.2.7")


def test_trusted_socket(behind: Daemon) -> None:
    """Who may connect to the UNIX socket is believed, if that was asked for; it has no address of its own."""
    for lines, client in (((), "unix"), ((("X-Forwarded-For", "192.0.2.7"),), "192.0.2.7")):
        with RawConnection.dial_unix(behind.home / "address") as conn:
            conn.send(head("GET", "/v1/images/disk", lines))
            assert behind.complete(conn.reply()["X-Request-Id"])["client"] == client


def test_nobody_is_trusted_by_default(store: Daemon) -> None:
    """What clients say of themselves counts for nothing."""
    for target in TARGETS:
        _, line = store.traced(target, fields={"X-Forwarded-For": "192.0.2.7"})
        assert line["client"] == "127.0.0.1"


def test_dual_stack(small_home: Callable[[str], Path]) -> None:
    """An IPv4 client of an IPv6 socket is shown and trusted by its IPv4 address."""
    try:
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True).close()
    except (OSError, ValueError):
        pytest.skip("no dual-stack sockets here")
    path = small_home("dual")
    with running(path, "--listen-addr", "[::]:0", "--trusted-proxy", "127.0.0.0/8") as daemon:
        for target in TARGETS:
            assert daemon.traced(target)[1]["client"] == "127.0.0.1"
            assert daemon.traced(target, fields={"X-Forwarded-For": "192.0.2.7"})[1]["client"] == "192.0.2.7"


@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_limit_of_one_client(small_home: Callable[[str], Path], express: str) -> None:
    """Behind a proxy a client has so many requests under way, whichever of the proxy's connections they come by."""
    path = small_home(f"limited{express}")
    with (path / "images" / "large").open("wb") as image:
        image.truncate(64 << 20)
    flags = ("--trusted-proxy", "127.0.0.1", "--max-connections-per-client", "2", "--no-require-manifest", express)
    (path / "images" / "manifest.json").unlink(missing_ok=True)
    with running(path, *flags) as daemon, ExitStack() as held:

        def ask(client: str, target: str = "/v1/images/large") -> int:
            conn = held.enter_context(daemon.dial(receive_buffer=4096))
            conn.send(head("GET", target, {"X-Forwarded-For": client}))
            return conn.reply_head().status

        assert [ask("192.0.2.7") for _ in range(3)] == [200, 200, 429]
        assert [ask("192.0.2.8"), ask("10.0.0.1, 127.0.0.1"), ask("192.0.2.7", "/healthz")] == [200, 200, 200]
        assert ask("192.0.2.7", "/v1/images/large/meta") == 429
        assert daemon.metrics().value("aero_storage_connections_refused_total", reason="client") == 2
        held.close()
        until(lambda: ask("192.0.2.7") == 200)
