"""How many connections may be open."""

from __future__ import annotations

import random

import attrs

from aero_storage.web.crowd import MOST_TOLD, Crowd, Limits, Reason, Ticket


@attrs.define(eq=False)
class Scene:
    limits: Limits
    room: int = 0
    """Connections that could make way."""
    refused: list[Reason] = attrs.field(factory=list)
    crowd: Crowd = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.crowd = Crowd(self.limits, self.make_room, self.refused.append)

    def make_room(self) -> bool:
        self.room -= 1
        return self.room >= 0

    def enter(self, *hosts: str) -> list[int | None]:
        """The refusals of connections from these hosts, 0 where there is not even a ticket."""
        tickets = [self.crowd.admit(host) for host in hosts]
        return [0 if ticket is None else ticket.refusal for ticket in tickets]


def test_total() -> None:
    """Up to the limit all come in; beyond it they get a 503, until somebody leaves."""
    scene = Scene(Limits(most=2))
    first = scene.crowd.admit("192.0.2.1")
    assert first is not None
    assert scene.enter("192.0.2.2", "192.0.2.3") == [None, 503]
    scene.crowd.leave(first)
    assert scene.enter("192.0.2.4", "192.0.2.5") == [None, 503]
    assert scene.refused == [Reason.TOTAL, Reason.TOTAL]


def test_no_limit() -> None:
    """0 is no limit."""
    scene = Scene(Limits(most=0))
    assert set(scene.enter(*["192.0.2.1"] * 10_000)) == {None}


def test_room_is_made() -> None:
    """Where somebody can make way, a new one comes in over the limit, and is counted."""
    scene = Scene(Limits(most=1), room=1)
    assert scene.enter("192.0.2.1", "192.0.2.2", "192.0.2.3") == [None, None, 503]


def test_those_beyond_are_not_even_told() -> None:
    """So many are told at once; when one of them has gone the next is."""
    scene = Scene(Limits(most=1))
    scene.enter("192.0.2.1")
    told = [scene.crowd.admit("192.0.2.2") for _ in range(MOST_TOLD)]
    assert scene.enter("192.0.2.2") == [0]
    one = told[0]
    assert one is not None
    scene.crowd.leave(one)
    assert scene.enter("192.0.2.2", "192.0.2.2") == [503, 0]
    assert len(scene.refused) == MOST_TOLD + 3


def test_client() -> None:
    """The limit of a client is 429, and hers alone; all addresses of her network count together."""
    scene = Scene(Limits(most_per_client=2))
    assert scene.enter("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::3") == [None, None, 429, None]
    assert scene.enter("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2") == [None, None, 429, None]
    assert set(scene.refused) == {Reason.CLIENT}


def test_who_is_over_her_limit_pushes_nobody_out() -> None:
    """The limit of a client is looked at first: nobody makes way for who is over it."""
    scene = Scene(Limits(most=1, most_per_client=1), room=1)
    assert scene.enter("192.0.2.1", "192.0.2.1") == [None, 429]
    assert scene.room == 1


def test_exempt() -> None:
    """UNIX sockets and proxies speak for many clients; the limit in all is for them, too."""
    scene = Scene(Limits(most=4, most_per_client=1, is_exempt="192.0.2.9".__eq__))
    assert scene.enter("unix", "unix", "192.0.2.9", "192.0.2.9", "192.0.2.9") == [None, None, None, None, 503]


def test_nothing_is_left() -> None:
    """Whoever comes and goes, in whatever order: when all have gone, all is as in the beginning."""
    scene, rng = Scene(Limits(most=20, most_per_client=3)), random.Random(7)
    inside: list[Ticket] = []
    for _ in range(2000):
        if inside and rng.random() < 0.5:
            scene.crowd.leave(inside.pop(rng.randrange(len(inside))))
        elif (ticket := scene.crowd.admit(f"192.0.2.{rng.randrange(9)}")) is not None:
            inside.append(ticket)
    assert {Reason.TOTAL, Reason.CLIENT} == set(scene.refused)
    for ticket in inside:
        scene.crowd.leave(ticket)
    assert scene.enter(*[f"192.0.2.{number % 7}" for number in range(21)]) == [None] * 20 + [503]
