"""Finds clients that take little or nothing of what is sent to them, and ends their streams or takes their places.

Two looks a second at all connections, and nothing per request. A look takes 12 to 22 µs for each stream, so it goes
on over as many turns of the reactor as it needs: 5,000 streams in one turn would keep every request waiting for 60 to
110 ms. Progress is what the client's system acknowledges. A
system whose receive buffer has been full acknowledges in steps (see `linux.tcp_info`): of a client that reads a
kilobyte a second nothing may be heard for minutes. So the timeout is extended by the time in which a slow client
(SLOW_BYTES within the timeout) reads what one step may hide, at most doubled, since a stuck client looks the same. A
client that stalled and recovered gets three times its longest stall: later steps come about as late as the first. A
response that waits for our own disk is no stall.

While requests wait for a place under the cap and no client is over its share, the stream that moves least loses its
place, if it moves less than YIELD_BYTES_PER_SECOND, and goes on without. So does one that waits for a disk which has
not answered for YIELD_SECONDS.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from math import inf
from typing import Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

LOOK_SECONDS, HASTY_LOOK_SECONDS = 0.5, 0.2
"""The second while a request waits and no stream is known to be slow: four looks in the second that it waits."""

LOOKED_AT_IN_ONE_TURN = 16
"""Streams: a third of a millisecond."""

YIELD_SECONDS = 5.0

YIELD_BYTES_PER_SECOND = 64 * 1024
"""Streams slower than this give their places up, measured over the last second, or since their second look."""

_WINDOW_SECONDS = 1.25
"""That second, and what looks are late."""

SLOW_BYTES = 60_000
"""A client that reads so many bytes within the timeout is slow, and not stuck: 1 kB a second with the default."""

_RECOVERY_FACTOR = 3
"""So many times its longest stall may a client stall again that has recovered from it."""


class Stream(Protocol):
    """A connection, as far as what it sends goes."""

    def progress(self) -> int | None:
        """Bytes that the client has acknowledged; None if a response waits for anything but the client."""
        ...

    def position(self) -> Hashable:
        """How far the response under way has come; None if there is none."""
        ...

    def max_unacknowledged_read(self) -> int:
        """The most bytes that the client may have read since it made progress; 0 if its system does not answer."""
        ...

    @property
    def holds_place(self) -> bool:
        """Whether it holds a place under the cap."""
        ...

    def give_place_up(self) -> bool:
        """Give up the place under the cap; false if it held none."""
        ...

    @property
    def request_id(self) -> str | None:
        """Of the response that is being sent."""
        ...

    def shut(self) -> None:
        """Reset the connection: its client takes nothing."""
        ...


@attrs.define(eq=False)
class _Stall:
    mark: Hashable
    """The mark that has not changed since."""
    since: float
    by_client: bool
    """Whether the client takes nothing; else we have nothing to send yet."""
    request_id: str | None
    longest: float = 0.0
    """Seconds of the longest stall of this response from which the client has recovered."""
    samples: tuple[tuple[float, int], ...] = ()
    """Times of the last looks and what the client had taken then, oldest first, since it was last waited for."""

    def followed_by(self, mark: Hashable, now: float, stream: Stream, *, by_client: bool) -> _Stall:
        """The next stall of a stream that has moved."""
        moved = _Stall(mark, now, by_client, stream.request_id)
        if by_client and self.by_client and self.request_id == moved.request_id:
            moved.longest = max(self.longest, now - self.since)
            moved.samples = self.samples
        return moved

    def sample(self, now: float, taken: int | None) -> None:
        """Note what the client has taken at a look; None if nothing waits for it."""
        kept = (sample for sample in self.samples if sample[0] >= now - _WINDOW_SECONDS)
        self.samples = () if taken is None else (*kept, (now, taken))

    def speed(self, now: float, mark: Hashable, taken: int | None) -> float:
        """Bytes a second that the stream moves now; infinite if it has not waited for its client for two samples.

        0 if it has waited for YIELD_SECONDS for us.
        """
        if taken is None:
            return 0.0 if mark == self.mark and now - self.since >= YIELD_SECONDS else inf
        if len(self.samples) < 2:  # noqa: PLR2004 - the first is new
            return inf
        since, before = self.samples[0]
        return (taken - before) / (now - since)


@attrs.define(eq=False)
class _Look:
    """A look at all streams, and what has been found so far."""

    left: list[Stream]
    """Those that are still to be looked at."""
    stalls: dict[Stream, _Stall] = attrs.field(factory=dict)
    _slow: list[tuple[float, float, Stream]] = attrs.field(factory=list)

    def take(self) -> list[Stream]:
        """Take as many streams as one turn has time for."""
        taken = self.left[-LOOKED_AT_IN_ONE_TURN:]
        del self.left[-LOOKED_AT_IN_ONE_TURN:]
        return taken

    def note(self, stream: Stream, stall: _Stall, speed: float = inf) -> None:
        """Note what was found of a stream, and its bytes a second."""
        self.stalls[stream] = stall
        if speed < YIELD_BYTES_PER_SECOND and stream.holds_place:
            self._slow.append((speed, stall.since, stream))

    def slowest(self) -> list[Stream]:
        """Return the streams that are slow enough to give their places up, the slowest last."""
        self._slow.sort(key=lambda entry: entry[:2], reverse=True)
        return [stream for _, _, stream in self._slow]


@attrs.define(eq=False)
class StallDetector:
    """Watches `streams`, a collection that others fill.

    A stream is broken off after a stall of `timeout` seconds (0: never), or later if its client may read unseen.
    `serve_queue` is called after each look; it calls `make_room` while requests wait. `broken_off` is called for each
    stream that is reset, with its request id and the seconds of its stall.
    """

    _clock: IReactorTime
    _timeout: float
    _streams: Collection[Stream]
    _serve_queue: Callable[[], object]
    _broken_off: Callable[[str | None, float], object]
    _stalls: dict[Stream, _Stall] = attrs.field(init=False, factory=dict)
    """As of the last look that has ended."""
    _look: _Look = attrs.field(init=False, factory=lambda: _Look([]))
    _slowest: list[Stream] = attrs.field(init=False, factory=list)
    """Streams that were slow enough at the last look to give their places up, the slowest last."""
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)

    def start(self) -> None:
        """A stream has come; a second call does nothing."""
        if self._timer is None:
            self._timer = self._clock.callLater(LOOK_SECONDS, self._begin_look)

    def stop(self) -> None:
        """No stream is left."""
        self._stalls.clear()
        self._look = _Look([])
        self._slowest = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def make_room(self) -> None:
        """Have the slowest stream give its place up, if one is slow enough; each is asked once after a look."""
        now = self._clock.seconds()
        while self._slowest:
            stream = self._slowest.pop()
            if self._speed(stream, now) < YIELD_BYTES_PER_SECOND and stream.give_place_up():
                return
        self._hasten(now)

    def _hasten(self, now: float) -> None:
        """Look soon: a request waits, and has but a second."""
        if self._timer is not None and self._timer.getTime() > now + HASTY_LOOK_SECONDS:
            self._timer.reset(HASTY_LOOK_SECONDS)

    def _speed(self, stream: Stream, now: float) -> float:
        """Bytes a second that a stream has moved of late; infinite if it does not wait for its client."""
        stall, (mark, taken) = self._stalls.get(stream), _mark(stream)
        return inf if stall is None else stall.speed(now, mark, taken)  # None: it has just been broken off

    def _begin_look(self) -> None:
        self._look = _Look(list(self._streams))
        self._go_on()

    def _go_on(self) -> None:
        """Look at the next streams; those that have gone meanwhile are left out."""
        self._timer = None
        look, now = self._look, self._clock.seconds()
        for stream in look.take():
            if stream in self._streams:
                self._look_at(stream, now)
        if look.left:
            self._timer = self._clock.callLater(0, self._go_on)
        else:
            self._end_look()

    def _look_at(self, stream: Stream, now: float) -> None:
        mark, taken = _mark(stream)
        if mark is None:
            return
        stall, by_client = self._stalls.get(stream), taken is not None
        if stall is None:  # no sample: a system goes on filling its buffer for its first 0.2 s, whoever reads
            self._look.note(stream, _Stall(mark, now, by_client, stream.request_id))
            return
        if stall.mark != mark:
            stall = stall.followed_by(mark, now, stream, by_client=by_client)
        stall.sample(now, taken)
        self._look.note(stream, stall, stall.speed(now, mark, taken))

    def _end_look(self) -> None:
        self._stalls, self._slowest = self._look.stalls, self._look.slowest()
        self._look = _Look([])
        if self._streams:
            self.start()
        self._serve_queue()
        if self._timeout:
            self._break_off()

    def _break_off(self) -> None:
        now = self._clock.seconds()
        for stream, stall in tuple(self._stalls.items()):
            if stall.by_client and self._is_stuck(stream, stall, now - stall.since):
                del self._stalls[stream]
                self._broken_off(stream.request_id, now - stall.since)
                stream.shut()

    def _is_stuck(self, stream: Stream, stall: _Stall, seconds: float) -> bool:
        if seconds < self._timeout:
            return False
        hidden = stream.max_unacknowledged_read()
        recovered = _RECOVERY_FACTOR * stall.longest if hidden else 0.0
        return seconds >= max(self._timeout * (1 + min(hidden / SLOW_BYTES, 1)), recovered)


def _mark(stream: Stream) -> tuple[Hashable, int | None]:
    """Return a mark that stays the same while a stream stalls, and what its client has taken if that is the cause."""
    taken = stream.progress()
    return (stream.position() if taken is None else ("taken", taken)), taken
