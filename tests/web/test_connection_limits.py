"""How many connections may be open."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from aero_storage.web.connection_limits import (
    MAX_BEYOND,
    MAX_LINGERING,
    MAX_REFUSED,
    ConnectionLimiter,
    Limits,
    Reason,
    Ticket,
)


def limits(
    max_connections: int = 4096,
    max_connections_per_client: int = 0,
    is_exempt: Callable[[str], bool] = lambda _host: False,
) -> Limits:
    return Limits(20.0, 60.0, max_connections, max_connections_per_client, is_exempt)


@attrs.define(eq=False)
class Lingering:
    """Connections that linger; the clients of some of them take nothing."""

    count: int = 0
    stalled: int = 0

    def __len__(self) -> int:
        return self.count

    def reset_stalled(self) -> bool:
        if not self.stalled:
            return False
        self.stalled, self.count = self.stalled - 1, self.count - 1
        return True


@attrs.define(eq=False)
class Scene:
    limits: Limits
    room: int = 0
    """Connections that could make way."""
    refused: list[Reason] = attrs.field(factory=list)
    lingering: Lingering = attrs.field(factory=Lingering)
    limiter: ConnectionLimiter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.limiter = ConnectionLimiter(self.limits, self.make_room, self.refused.append, self.lingering)

    def make_room(self) -> bool:
        self.room -= 1
        return self.room >= 0

    def linger(self, ticket: Ticket | None) -> None:
        assert ticket is not None
        self.limiter.closes(ticket)
        self.lingering.count += 1

    def enter(self, *hosts: str) -> list[int | None]:
        """The refusals of connections from these hosts, 0 where there is not even a ticket."""
        tickets = [self.limiter.admit(host) for host in hosts]
        return [0 if ticket is None else ticket.refusal and ticket.refusal[0] for ticket in tickets]


def test_total() -> None:
    """Up to the limit all come in; beyond it they get a 503, until somebody leaves."""
    scene = Scene(limits(max_connections=2))
    first = scene.limiter.admit("192.0.2.1")
    assert first is not None
    assert scene.enter("192.0.2.2", "192.0.2.3") == [None, 503]
    scene.limiter.leave(first)
    assert scene.enter("192.0.2.4", "192.0.2.5") == [None, 503]
    assert scene.refused == [Reason.TOTAL, Reason.TOTAL]


def test_no_limit() -> None:
    """0 is no limit."""
    scene = Scene(limits(max_connections=0))
    assert set(scene.enter(*["192.0.2.1"] * 10_000)) == {None}


def test_room_is_made() -> None:
    """Where somebody can make way, a new one comes in over the limit, and is counted."""
    scene = Scene(limits(max_connections=1), room=1)
    assert scene.enter("192.0.2.1", "192.0.2.2", "192.0.2.3") == [None, None, 503]


def test_those_beyond_are_not_even_told() -> None:
    """So many are told at once; when one of them has gone the next is."""
    scene = Scene(limits(max_connections=1))
    scene.enter("192.0.2.1")
    told = [scene.limiter.admit("192.0.2.2") for _ in range(MAX_REFUSED)]
    assert scene.enter("192.0.2.2") == [0]
    one = told[0]
    assert one is not None
    scene.limiter.leave(one)
    assert scene.enter("192.0.2.2", "192.0.2.2") == [503, 0]
    assert len(scene.refused) == MAX_REFUSED + 3


def test_client() -> None:
    """The limit of a client is 429, and hers alone; all addresses of her network count together."""
    scene = Scene(limits(max_connections_per_client=2))
    assert scene.enter("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::3") == [None, None, 429, None]
    assert scene.enter("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2") == [None, None, 429, None]
    assert set(scene.refused) == {Reason.CLIENT}


def test_who_is_over_her_limit_pushes_nobody_out() -> None:
    """The limit of a client is looked at first: nobody makes way for who is over it."""
    scene = Scene(limits(max_connections=1, max_connections_per_client=1), room=1)
    assert scene.enter("192.0.2.1", "192.0.2.1") == [None, 429]
    assert scene.room == 1


def test_exempt() -> None:
    """UNIX sockets and proxies speak for many clients; the limit in all is for them, too."""
    scene = Scene(limits(max_connections=4, max_connections_per_client=1, is_exempt="192.0.2.9".__eq__))
    assert scene.enter("unix", "unix", "192.0.2.9", "192.0.2.9", "192.0.2.9") == [None, None, None, None, 503]


def test_lingering_connections_take_no_place_but_are_bounded() -> None:
    """So many may linger beyond the limit; then one whose client takes nothing is reset, or new ones are refused."""
    scene = Scene(limits(max_connections=2))
    for _ in range(MAX_LINGERING + 2):
        scene.linger(scene.limiter.admit("192.0.2.1"))
    assert scene.enter("192.0.2.2") == [503]
    scene.lingering.stalled = 2
    assert scene.enter("192.0.2.2", "192.0.2.3", "192.0.2.4") == [None, None, 503]
    assert (scene.lingering.count, scene.lingering.stalled) == (MAX_LINGERING, 0)


def test_a_connection_leaves_once() -> None:
    """To be closed, reset and lost counts once; a refused one has its place until it is lost."""
    scene = Scene(limits(max_connections=1))
    first = scene.limiter.admit("192.0.2.1")
    told = [scene.limiter.admit("192.0.2.2") for _ in range(MAX_REFUSED)]
    for ticket in (first, first, told[0]):
        assert ticket is not None
        scene.limiter.closes(ticket)
    assert scene.enter("192.0.2.2", "192.0.2.2") == [None, 0]
    for ticket in (first, told[0]):
        assert ticket is not None
        scene.limiter.leave(ticket)
    assert scene.enter("192.0.2.2", "192.0.2.2") == [503, 0]


def test_as_many_as_can_be_open() -> None:
    """Beyond a constant over the limit nobody is accepted in the same turn; without a limit all are."""
    scene = Scene(limits(max_connections=7))
    assert [scene.limiter.is_full(7 + MAX_BEYOND + more) for more in (-1, 0, 1)] == [False, True, True]
    assert not Scene(limits(max_connections=0)).limiter.is_full(1_000_000)


def test_nothing_is_left() -> None:
    """Whoever comes and goes, in whatever order: when all have gone, all is as in the beginning."""
    scene, rng = Scene(limits(max_connections=20, max_connections_per_client=3)), random.Random(7)
    inside: list[Ticket] = []
    for _ in range(2000):
        if inside and rng.random() < 0.5:
            scene.limiter.leave(inside.pop(rng.randrange(len(inside))))
        elif (ticket := scene.limiter.admit(f"192.0.2.{rng.randrange(9)}")) is not None:
            inside.append(ticket)
    assert {Reason.TOTAL, Reason.CLIENT} == set(scene.refused)
    for ticket in inside:
        scene.limiter.leave(ticket)
    assert scene.enter(*[f"192.0.2.{number % 7}" for number in range(21)]) == [None] * 20 + [503]
