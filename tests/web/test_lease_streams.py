"""Leases of responses under way, with the whole stack: resets by every way of sending, and what a lease may take.

Requests have the lease that their `X-Aero-User-Id` names: how leases are judged does not matter here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.lease_tokens import KEYS
from tests.streaming.tcp_pair import ConnectionPair, ManualReactor, closing, connect
from twisted.internet.address import IPv4Address

from aero_storage.delivery.handler import RequestHandler
from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.http.leases.claims import Claims
from aero_storage.http.leases.revocations import read_revocations
from aero_storage.http.leases.verification import Lease
from aero_storage.streaming.throttle import TICK_SECONDS
from aero_storage.web.lease_watch import LOOK_SECONDS, LeaseWatch

GRACE = 60
RATE, BURST = 1_000_000, 150_000
IMAGE = bytes(range(256)) * 4096
URL = "/v1/images/disk.img"
ADA, BOB = ("X-Aero-User-Id", "ada"), ("X-Aero-User-Id", "bob")
LEASES = {
    name: Lease("hs", name, Claims(("disk.img",), frozenset({"disk:read"}), 0.0, 1.0, identifier=name))
    for name in ("ada", "bob")
}
"""They have ended long ago: what they opened goes on for the grace from its head on."""


@attrs.define(eq=False)
class Leased:
    """A daemon that asks for leases, and connections to it by real sockets, with which the kernel copies."""

    stack: Any
    leases: LeasesInForce
    reactor: ManualReactor
    exits: ExitStack

    def dial(self) -> ConnectionPair:
        stack = self.stack
        channel = stack.parts.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        made = connect(self.reactor, stack.parts.pools.readers, [], protocol=channel)
        return self.exits.enter_context(closing(made))

    def ask(self, pair: ConnectionPair, user: str | None = "ada", *lines: str) -> None:
        named = [] if user is None else [f"X-Aero-User-Id: {user}"]
        head = "\r\n".join([f"GET {URL} HTTP/1.1", "Host: test", *named, *lines, "", ""])
        pair.peer.send(head.encode())

    def revoke(self, name: str) -> None:
        line = json.dumps({"jti": name}).encode()
        self.leases.replace(revocations=read_revocations([line], 0.0))
        self.stack.reactor.advance(0)

    def let_pass(self, seconds: float) -> None:
        self.stack.reactor.advance(seconds)

    @property
    def outcomes(self) -> list[str]:
        return [line["outcome"] for line in self.stack.log.requests]

    def assert_nothing_is_held(self) -> None:
        assert self.stack.parts.admission.taken == 0
        assert not self.stack.parts.site.streams


@pytest.fixture
def make_leased(
    make_stack: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., Leased]]:
    """Make a daemon that asks for leases; settings as keywords."""
    take_share = RequestHandler._take_share  # noqa: SLF001

    def take_share_and_lease(self: RequestHandler, exchange: Any) -> None:
        take_share(self, exchange)
        exchange.lease = LEASES.get(exchange.facts.user_id)

    monkeypatch.setattr(RequestHandler, "_take_share", take_share_and_lease)
    keys = tmp_path / "keys.json"
    keys.write_bytes(KEYS)
    keys.chmod(0o600)
    with ExitStack() as exits:
        reactor = ManualReactor()
        exits.callback(reactor.close)

        def make(**settings: str) -> Leased:
            stack = make_stack(lease_stream_grace_secs=str(GRACE), lease_keys_file=str(keys), **settings)
            return Leased(stack, stack.parts.leases.in_force, reactor, exits)

        yield make


@pytest.fixture
def leased(make_leased: Callable[..., Leased]) -> Leased:
    """A daemon that asks for leases."""
    return make_leased()


ENDINGS: dict[str, Callable[[Leased], None]] = {
    "lease_expired": lambda leased: leased.let_pass(GRACE + LOOK_SECONDS),
    "lease_revoked": lambda leased: leased.revoke("ada"),
}


@pytest.mark.parametrize("outcome", ENDINGS)
def test_where_the_kernel_copies(leased: Leased, outcome: str) -> None:
    """A client that has stopped reading is reset when its lease ends; others, and public ones, read to the end."""
    pairs = [leased.dial() for _ in range(3)]
    for pair, user in zip(pairs, ("ada", "bob", None), strict=True):
        leased.ask(pair, user)
        pair.stall()
    leased.let_pass(GRACE - 1)
    assert leased.outcomes == []
    if outcome == "lease_expired":
        pairs[1].run()
    ENDINGS[outcome](leased)
    for pair in pairs:
        pair.run()
    assert [pair.was_reset for pair in pairs] == [True, False, False]
    assert sorted(leased.outcomes) == ["complete", "complete", outcome]
    (line,) = [line for line in leased.stack.log.requests if line["outcome"] == outcome]
    assert 0 < line["bytes_sent"] < len(IMAGE)
    assert line["status"] == 200
    assert leased.stack.metric(f'aero_storage_responses_broken_off_total{{outcome="{outcome}"}}') == 1
    leased.assert_nothing_is_held()


@pytest.mark.parametrize("outcome", ENDINGS)
def test_where_threads_read(leased: Leased, outcome: str) -> None:
    """By TLS and UNIX sockets, too, a response that waits for its client is reset when its lease ends."""
    leased.stack.pool.held = True
    connections = [leased.stack.connect() for _ in range(2)]
    for connection, names in zip(connections, ([ADA], []), strict=True):
        connection.get(URL, *names)
        leased.stack.pool.open()
        connection.transport.producer.pauseProducing()
    leased.stack.pool.release()
    leased.let_pass(GRACE - 1)
    assert not any(connection.transport.aborted for connection in connections)
    ENDINGS[outcome](leased)
    assert [connection.transport.aborted for connection in connections] == [True, False]
    connections[0].lose()
    connections[1].transport.producer.resumeProducing()
    assert connections[1].response().body == IMAGE
    assert leased.outcomes == [outcome, "complete"]
    leased.assert_nothing_is_held()


def test_while_a_disk_is_waited_for(leased: Leased) -> None:
    """A response that waits for a disk is reset, too, and what the disk brings later is thrown away."""
    leased.stack.pool.held = True
    connection = leased.stack.connect()
    connection.get(URL, ADA)
    leased.stack.pool.open()
    leased.revoke("ada")
    assert connection.transport.aborted
    connection.lose()
    leased.stack.pool.release()
    assert leased.outcomes == ["lease_revoked"]
    leased.assert_nothing_is_held()


def test_a_request_that_waits_for_its_place(make_leased: Callable[..., Leased]) -> None:
    """A request in the queue is ended by a revocation, not by time; the place goes to the next."""
    leased = make_leased(max_concurrent_bytes_requests="1", bytes_queue_timeout_secs="600")
    stack = leased.stack
    stack.pool.held = True
    first, second, third = (stack.connect() for _ in range(3))
    first.get(URL, ("Range", "bytes=0-9"))
    second.get(URL, ADA)
    third.get(URL, BOB, ("Range", "bytes=0-9"))
    leased.let_pass(GRACE + 1)
    assert not second.transport.aborted
    leased.revoke("ada")
    assert second.transport.aborted
    second.lose()
    assert (leased.outcomes, stack.parts.admission.waiting) == (["lease_revoked"], 1)
    stack.pool.release()
    assert third.response().body == IMAGE[:10]
    leased.assert_nothing_is_held()


def test_a_lease_that_is_known_late(leased: Leased) -> None:
    """A request that has waited is not answered by a lease that was revoked before it was known to be its lease."""
    stack = leased.stack
    stack.pool.held = True
    connection = stack.connect()
    connection.get(URL, ("Range", "bytes=0-9"))
    leased.revoke("ada")
    (response,) = stack.parts.site.streams
    response.exchange.lease = LEASES["ada"]
    stack.pool.release()
    assert connection.transport.aborted
    assert connection.taken() == b""
    connection.lose()
    assert leased.outcomes == ["lease_revoked"]
    leased.assert_nothing_is_held()


def test_small_responses(leased: Leased, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that leaves at once is not watched."""
    begun: list[object] = []
    monkeypatch.setattr(LeaseWatch, "begin", lambda _self, response, _lease: begun.append(response))
    pair = leased.dial()
    leased.ask(pair, "ada", "Range: bytes=0-9")
    pair.run()
    assert leased.outcomes == ["complete"]
    assert begun == []
    leased.ask(pair)
    pair.stall()
    assert len(begun) == 1


def test_no_lease_no_timer(leased: Leased) -> None:
    """When all responses have ended no timer of leases is left."""

    def watches() -> int:
        owners = [getattr(call.func, "__self__", None) for call in leased.stack.reactor.getDelayedCalls()]
        return sum(isinstance(owner, LeaseWatch) for owner in owners)

    pair = leased.dial()
    leased.ask(pair)
    pair.stall()
    assert watches() == 1
    pair.run()
    assert leased.outcomes == ["complete"]
    assert watches() == 0


# What one lease may take


def test_streams_of_one_lease(make_leased: Callable[..., Leased]) -> None:
    """One more than the limit is a 429 that takes no place; others, and the next, are served."""
    leased = make_leased(max_streams_per_lease="1")
    stack = leased.stack
    pair = leased.dial()
    leased.ask(pair)
    pair.stall()
    refused = stack.ask(URL, ADA)
    assert (refused.status, refused["Retry-After"]) == (429, "1")
    assert stack.log.requests[-1]["reason"] == "share"
    assert stack.metric('aero_storage_rejections_total{reason="lease_share"}') == 1
    assert stack.parts.admission.taken == 1
    assert [stack.ask(URL, *names, ("Range", "bytes=0-9")).status for names in ([BOB], [])] == [206, 206]
    pair.run()
    assert [stack.ask(URL, ADA, ("Range", "bytes=0-9")).status for _ in range(3)] == [206] * 3
    leased.assert_nothing_is_held()


def test_a_request_that_waits_counts(make_leased: Callable[..., Leased]) -> None:
    """A request that waits for a place or a disk counts once, and no more after it has left."""
    leased = make_leased(max_streams_per_lease="1", max_concurrent_bytes_requests="1", bytes_queue_timeout_secs="5")
    stack = leased.stack
    stack.pool.held = True
    stack.connect().get(URL, ("Range", "bytes=0-9"))
    waiting = stack.connect()
    waiting.get(URL, ADA)
    assert stack.ask(URL, ADA).status == 429
    waiting.lose()
    stack.pool.release()
    assert stack.ask(URL, ADA, ("Range", "bytes=0-9")).status == 206


def test_speed_of_one_lease(make_leased: Callable[..., Leased]) -> None:
    """All connections of a lease are together as fast as it may be; one without a lease is not held back."""
    leased = make_leased(max_bytes_per_second_per_lease=str(RATE))
    pairs = [leased.dial() for _ in range(2)]
    for pair in pairs:
        leased.ask(pair)
        pair.run()
    free = leased.dial()
    leased.ask(free, None)
    free.run()
    assert leased.outcomes == ["complete"]
    for tick in range(20):
        assert sum(len(pair.taken) for pair in pairs) <= BURST + tick * TICK_SECONDS * RATE + 2000
        leased.let_pass(TICK_SECONDS)
        for pair in pairs:
            pair.run()
    assert sum(len(pair.taken) for pair in pairs) == pytest.approx(BURST + RATE, rel=0.1)


def test_where_threads_read_a_lease_is_limited(make_leased: Callable[..., Leased]) -> None:
    """By TLS and UNIX sockets the speed of a lease holds, too."""
    leased = make_leased(max_bytes_per_second_per_lease=str(RATE))
    connection = leased.stack.connect()
    connection.get(URL, ADA)
    body = connection.taken().partition(b"\r\n\r\n")[2]
    for tick in range(1, 40):
        assert len(body) <= BURST + (tick - 1) * TICK_SECONDS * RATE + 1
        leased.let_pass(TICK_SECONDS)
        body += connection.taken()
    assert body == IMAGE


def test_a_connection_that_goes_on_without_its_lease(make_leased: Callable[..., Leased]) -> None:
    """The speed is that of a response: the next one of the connection has its own lease, or none."""
    leased = make_leased(max_bytes_per_second_per_lease=str(RATE))
    pair = leased.dial()
    for user in ("ada", "ada", None, "bob"):
        leased.ask(pair, user, "Range: bytes=0-99999")
        pair.run()
    assert len(leased.outcomes) == 1  # the second one of ada's waits for the next tick, and so do those behind it
    for _ in range(2):
        leased.let_pass(TICK_SECONDS)
        pair.run()
    assert leased.outcomes == ["complete"] * 4
