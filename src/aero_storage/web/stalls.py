"""Clients that take nothing of what is sent to them: for how long, and what becomes of their streams.

Two looks a second at all connections, and nothing per request. What counts is what the client's system acknowledges.
One whose buffer has been full does so in steps (see `linux.tcp_info`): of a client that reads a kilobyte a second
we may hear nothing for minutes. So who stands still has the time on top in which a slow one would read as much as may
be hidden, but no more than the timeout once again, since one that is stuck looks the same; unless it has stood still
before and moved again, which steps do about as late each time. One that waits for our disk does not stand still.

While requests wait for a place under the cap, streams that have stood still for YIELD_SECONDS give theirs up, the
longest first, at once if they had before anybody waited; they are still sent to, should their clients move. That goes
for those too that wait for a disk which does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

LOOK_SECONDS = 0.5
YIELD_SECONDS = 5.0

SLOW_BYTES = 60_000
"""Who reads so many within the timeout is slow, and not stuck: 1 kB a second with the default."""

_PATIENCE = 3
"""So many times as long as it has stood still before a client may do so again."""


class Stream(Protocol):
    """A connection by which something may be sent."""

    def progress(self) -> int | None:
        """Bytes that the client has taken so far; None if a response waits for anything but the client."""
        ...

    def position(self) -> Hashable:
        """What is under way, and how far it has come; None if nothing is."""
        ...

    def max_unacknowledged_read(self) -> int:
        """Bytes that the client may have read since it made progress; 0 if its system does not answer."""
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
class _Still:
    mark: Hashable
    since: float
    by_client: bool
    """Whether it is the client that takes nothing, or we have nothing to send yet."""
    request_id: str | None
    longest: float = 0.0
    """For how many seconds the client has stood still during this response before it moved again."""

    def followed_by(self, mark: Hashable, now: float, stream: Stream, *, by_client: bool) -> _Still:
        """What there is to know of a stream that has moved."""
        moved = _Still(mark, now, by_client, stream.request_id)
        if by_client and self.by_client and self.request_id == moved.request_id:
            moved.longest = max(self.longest, now - self.since)
        return moved


@attrs.define(eq=False)
class Stalls:
    """Looks after `streams`, a collection that others fill.

    A stream is broken off after `timeout` seconds (0: never), or later if it may move unseen. `waiting`
    tells how many requests wait for a place. `place_given_up` is told of each place that was, `broken_off` of each
    stream that is: its request id, and the seconds for which it has stood still.
    """

    _clock: IReactorTime
    _timeout: float
    _streams: Collection[Stream]
    _waiting: Callable[[], int]
    _place_given_up: Callable[[], object]
    _broken_off: Callable[[str | None, float], object]
    _still: dict[Stream, _Still] = attrs.field(init=False, factory=dict)
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)

    def begin(self) -> None:
        """There is somebody to look after."""
        if self._timer is None:
            self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def end(self) -> None:
        """There is nobody any more."""
        self._still.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def make_room(self) -> None:
        """Have as many places given up as are waited for, as far as there are streams that stand still."""
        wanted, latest = self._waiting(), self._clock.seconds() - YIELD_SECONDS
        if wanted <= 0:
            return
        stuck = [(still.since, still.mark, stream) for stream, still in self._still.items() if still.since <= latest]
        for _, mark, stream in sorted(stuck, key=lambda one: one[0]):
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
            self.begin()

    def _note(self) -> None:
        before, self._still, now = self._still, {}, self._clock.seconds()
        for stream in self._streams:
            mark, by_client = _mark(stream)
            if mark is None:
                continue
            still = before.get(stream)
            if still is None:
                still = _Still(mark, now, by_client, stream.request_id)
            elif still.mark != mark:
                still = still.followed_by(mark, now, stream, by_client=by_client)
            self._still[stream] = still

    def _break_off(self) -> None:
        now = self._clock.seconds()
        for stream, still in tuple(self._still.items()):
            if still.by_client and self._is_stuck(stream, still, now - still.since):
                del self._still[stream]
                self._broken_off(stream.request_id, now - still.since)
                stream.shut()

    def _is_stuck(self, stream: Stream, still: _Still, seconds: float) -> bool:
        if seconds < self._timeout:
            return False
        hidden = stream.max_unacknowledged_read()
        as_before = _PATIENCE * still.longest if hidden else 0.0
        return seconds >= max(self._timeout * (1 + min(hidden / SLOW_BYTES, 1)), as_before)


def _mark(stream: Stream) -> tuple[Hashable, bool]:
    """What stays the same of a stream that stands still, and whether that is its client's doing."""
    taken = stream.progress()
    return (stream.position(), False) if taken is None else (("taken", taken), True)
