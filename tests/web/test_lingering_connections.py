"""Lingering connections: which one is reset when others need its descriptor."""

from __future__ import annotations

import attrs
from twisted.internet.task import Clock

from aero_storage.web.lingering_connections import STALLED_SECONDS, LingeringConnections


@attrs.define(eq=False)
class Connection:
    """A connection whose client takes as much as a test wants."""

    taken: int = 0
    resets: int = 0

    def acknowledged(self) -> int:
        return self.taken

    def reset(self) -> None:
        self.resets += 1


@attrs.define
class Scene:
    clock: Clock = attrs.field(factory=Clock)
    lingering: LingeringConnections = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.lingering = LingeringConnections(self.clock)

    def linger(self) -> Connection:
        connection = Connection()
        self.lingering.add(connection)
        return connection


def test_the_longest_stall_first() -> None:
    """Connections are reset in the order in which their clients took the last of what they took, each once."""
    scene = Scene()
    first, second = scene.linger(), scene.linger()
    scene.clock.advance(STALLED_SECONDS)
    first.taken = 1
    assert scene.lingering.reset_stalled()
    assert (first.resets, second.resets, len(scene.lingering)) == (0, 1, 1)
    assert not scene.lingering.reset_stalled()
    scene.clock.advance(STALLED_SECONDS)
    assert scene.lingering.reset_stalled()
    assert (first.resets, second.resets, len(scene.lingering)) == (1, 1, 0)


def test_who_reads_is_not_reset() -> None:
    """A client that takes something every second is left alone, however long it takes."""
    scene = Scene()
    reading = scene.linger()
    for _ in range(50):
        scene.clock.advance(STALLED_SECONDS)
        reading.taken += 1
        assert not scene.lingering.reset_stalled()
    assert reading.resets == 0


def test_new_ones_stay_for_a_while() -> None:
    """A connection that has just begun to linger is not reset, nor one that has gone meanwhile."""
    scene = Scene()
    assert not scene.lingering.reset_stalled()
    gone = scene.linger()
    scene.clock.advance(STALLED_SECONDS)
    new = scene.linger()
    scene.lingering.discard(gone)
    scene.lingering.discard(gone)
    assert not scene.lingering.reset_stalled()
    assert (gone.resets, new.resets) == (0, 0)
