"""http.md §12: limits of bad leases, the order of the questions, workers, and heads that come again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import entry, put_catalog
from tests.blackbox.leased_root import lease, leased, leased_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IMAGE = "/v1/images/secret"


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} | more


@pytest.mark.parametrize("bad", ["junk", "signature"])
def test_failures_of_one_client(home: Callable[[str], Path], bad: str) -> None:
    """Beyond the limit a client's new tokens are 429; leases that were seen before, and other clients, are not."""
    with leased(home(f"failures-{bad}"), "--lease-failures-per-sec", "3", "--trusted-proxy", "127.0.0.1") as daemon:
        seen = bearer(lease(jti="seen"))
        assert daemon.ask(IMAGE, fields=seen | {"X-Forwarded-For": "192.0.2.1"}).status == 200
        statuses = []
        with daemon.dial() as conn:
            for number in range(8):
                token = f"junk{number}" if bad == "junk" else lease(jti=str(number))[:-4] + "AAAA"
                reply = conn.ask("GET", IMAGE, bearer(token) | {"X-Forwarded-For": "192.0.2.1"})
                statuses.append(reply.status)
            assert statuses == [401] * 3 + [429] * 5
            assert reply["Retry-After"] == "1"
            good = bearer(lease(jti="new"))
            assert conn.ask("GET", IMAGE, good | {"X-Forwarded-For": "192.0.2.1"}).status == 429
            assert conn.ask("GET", IMAGE, seen | {"X-Forwarded-For": "192.0.2.1"}).status == 200
            assert conn.ask("GET", IMAGE, good | {"X-Forwarded-For": "192.0.2.2"}).status == 200
            line = daemon.complete(reply["X-Request-Id"] or "")
            assert (line["reason"], line["status"]) == ("lease", 429)


def test_after_a_second(home: Callable[[str], Path]) -> None:
    """A second later a client may try again."""
    with leased(home("failures-later"), "--lease-failures-per-sec", "1") as daemon:
        assert daemon.ask(IMAGE, fields=bearer("junk")).status == 401
        good = bearer(lease())
        until(lambda: daemon.ask(IMAGE, fields=good).status == 200, 3.0)


def test_lease_before_place(home: Callable[[str], Path]) -> None:
    """A request without a lease is a 401 while all places are taken; one with a lease asks for a place."""
    flags = ("--max-concurrent-bytes-requests", "1", "--bytes-queue-timeout-secs", "0")
    with leased(home("lease-order"), *flags) as daemon, daemon.dial(receive_buffer=4096) as busy:
        busy.send(b"GET /v1/images/open HTTP/1.1\r\nHost: store.test\r\n\r\n" * 40)
        until(lambda: daemon.metrics().value("aero_storage_places_taken") == 1)
        assert daemon.ask(IMAGE).status == 401
        assert daemon.ask("/v1/images/nosuch").status == 401
        assert daemon.ask("/v1/images/%2e%2e").status == 404
        reply = daemon.ask(IMAGE, fields=bearer(lease()))
        assert (reply.status, reply.get("Aero-Lease-Remaining") is None) == (429, False)


def test_catalog_before_lease(home: Callable[[str], Path]) -> None:
    """While there is no good catalog all is a 500, before the id is looked at, and the lease."""
    path = home("lease-broken-catalog")
    leased_root(path)
    (path / "images" / "manifest.json").write_text("[")
    with running(path, "--lease-keys-file", str(path / "keys.json")) as daemon:
        for target in (IMAGE, f"{IMAGE}/meta", f"{IMAGE}/lease", "/v1/images", "/v1/images/%2e%2e"):
            assert daemon.ask(target).status == 500, target


def test_times_are_looked_at_anew(home: Callable[[str], Path]) -> None:
    """A head that was answered before gets another answer once its lease has ended, on the same connection."""
    with leased(home("lease-times"), "--lease-leeway-secs", "0") as daemon, daemon.dial() as conn:
        now = time.time()
        ending = bearer(lease(iat=now - 1, exp=now + 1.5), Range="bytes=0-9")
        url = f"{IMAGE}?lease={lease(iat=now - 1, uexp=now + 1.5)}"
        assert conn.ask("GET", IMAGE, ending).status == 206
        assert conn.ask("GET", url, {"Range": "bytes=0-9"}).status == 206
        until(lambda: conn.ask("GET", IMAGE, ending).status == 401)
        assert conn.ask("GET", url, {"Range": "bytes=0-9"}).status == 401
        assert time.time() >= now + 1.5


def test_publishing_an_image(home: Callable[[str], Path]) -> None:
    """A head that was answered before gets another answer once the catalog makes its image private."""
    with leased(home("lease-catalog")) as daemon, daemon.dial() as conn:
        assert conn.ask("GET", "/v1/images/open", {"Range": "bytes=0-9"}).status == 206
        put_catalog(daemon.root, {"images": [entry("open", public=False), entry("secret")]})
        daemon.hang_up()
        until(lambda: conn.ask("GET", "/v1/images/open", {"Range": "bytes=0-9"}).status == 401)
        assert conn.ask("GET", IMAGE, {"Range": "bytes=0-9"}).status == 206


def test_workers(home: Callable[[str], Path]) -> None:
    """Each of several workers asks for leases, and each shows the sum of all counts."""
    with leased(home("lease-workers"), "--workers", "2") as daemon:
        for number in range(12):
            assert daemon.ask(IMAGE, fields=bearer(lease(jti=f"w-{number}"))).status == 200
            assert daemon.ask(IMAGE).status == 401
        until(lambda: daemon.metrics().value("aero_storage_leases_total", result="ok") == 12)
        assert daemon.metrics().value("aero_storage_leases_total", result="missing") == 12


def test_many_new_tokens_at_once(home: Callable[[str], Path]) -> None:
    """Tokens that come faster than they may be verified wait their turn, and each is answered."""
    with leased(home("lease-flood"), "--lease-failures-per-sec", "0") as daemon:
        count = 150  # of Ed25519, at up to 0.4 ms each
        connections = [daemon.dial() for _ in range(10)]
        for number in range(count):
            token = lease("secret", "ed", jti=f"n-{number}")
            request = f"GET {IMAGE}/meta HTTP/1.1\r\nHost: store.test\r\nAuthorization: Bearer {token}\r\n\r\n"
            connections[number % 10].send(request.encode())
        statuses = [conn.reply("GET").status for conn in connections for _ in range(count // 10)]
        assert statuses == [200] * count
        for conn in connections:
            conn.close()
