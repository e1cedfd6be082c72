"""Finds clients that take nothing of what is sent to them, and ends their streams or takes their places.

Two looks a second at all connections, and nothing per request. Progress is what the client's system acknowledges. A
system whose receive buffer has been full acknowledges in steps (see `linux.tcp_info`): of a client that reads a
kilobyte a second nothing may be heard for minutes. So the timeout is extended by the time in which a slow client
(SLOW_BYTES within the timeout) reads what one step may hide, at most doubled, since a stuck client looks the same. A
client that stalled and recovered gets three times its longest stall: later steps come about as late as the first. A
response that waits for our own disk is no stall.

While requests wait for a place under the cap, streams that have stalled for YIELD_SECONDS lose theirs, the longest
stall first, at once if they had stalled before any request waited. They are still sent to, should their clients move.
The same holds for streams that wait for a disk which does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

LOOK_SECONDS = 0.5
YIELD_SECONDS = 5.0

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

    def followed_by(self, mark: Hashable, now: float, stream: Stream, *, by_client: bool) -> _Stall:
        """The next stall of a stream that has moved."""
        moved = _Stall(mark, now, by_client, stream.request_id)
        if by_client and self.by_client and self.request_id == moved.request_id:
            moved.longest = max(self.longest, now - self.since)
        return moved


@attrs.define(eq=False)
class StallDetector:
    """Watches `streams`, a collection that others fill.

    A stream is broken off after a stall of `timeout` seconds (0: never), or later if its client may read unseen.
    `waiting` gives the number of requests that wait for a place. `place_given_up` is called for each place taken,
    `broken_off` for each stream that is reset, with its request id and the seconds of its stall.
    """

    _clock: IReactorTime
    _timeout: float
    _streams: Collection[Stream]
    _waiting: Callable[[], int]
    _place_given_up: Callable[[], object]
    _broken_off: Callable[[str | None, float], object]
    _stalls: dict[Stream, _Stall] = attrs.field(init=False, factory=dict)
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)

    def start(self) -> None:
        """A stream has come; a second call does nothing."""
        if self._timer is None:
            self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """No stream is left."""
        self._stalls.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def make_room(self) -> None:
        """Take as many places as requests wait for, as far as streams have stalled long enough."""
        wanted, latest = self._waiting(), self._clock.seconds() - YIELD_SECONDS
        if wanted <= 0:
            return
        stalled = [
            (stall.since, stall.mark, stream) for stream, stall in self._stalls.items() if stall.since <= latest
        ]
        for _, mark, stream in sorted(stalled, key=lambda entry: entry[0]):
            if wanted > 0 and _mark(stream)[0] == mark and stream.give_place_up():
                wanted -= 1
                self._place_given_up()

    def _look(self) -> None:
        self._timer = None
        self._note()
        self.make_room()
        if self._timeout:
            self._break_off()
        if self._streams:
            self.start()

    def _note(self) -> None:
        before, self._stalls, now = self._stalls, {}, self._clock.seconds()
        for stream in self._streams:
            mark, by_client = _mark(stream)
            if mark is None:
                continue
            stall = before.get(stream)
            if stall is None:
                stall = _Stall(mark, now, by_client, stream.request_id)
            elif stall.mark != mark:
                stall = stall.followed_by(mark, now, stream, by_client=by_client)
            self._stalls[stream] = stall

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


def _mark(stream: Stream) -> tuple[Hashable, bool]:
    """Return a mark that stays the same while a stream stalls, and whether its client is the cause."""
    taken = stream.progress()
    return (stream.position(), False) if taken is None else (("taken", taken), True)
