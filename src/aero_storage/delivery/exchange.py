"""One request from its head to its last byte: what it holds, and the one place where it ends."""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from aero_storage.delivery.access_record import AccessRecord
from aero_storage.delivery.admission import Admission, Place
from aero_storage.delivery.facts import Facts, make_request_id
from aero_storage.logs.json_lines import quote
from aero_storage.storage.store import Opened


class Ending(enum.StrEnum):
    """How an exchange ended, in the words of the log."""

    COMPLETE = "complete"
    ABORTED = "aborted"
    """By us: the file failed, or the server stops."""
    DISCONNECTED = "disconnected"
    """By the client."""


@attrs.define(eq=False)
class Exchange:
    """Owns all that a request takes, its place and its blob, and gives it back in `end`, exactly once."""

    _account: AccessRecord
    client: str | None = None
    """The client's host."""
    request_id: str = attrs.field(factory=make_request_id)
    facts: Facts = attrs.field(init=False)
    _started: float = attrs.field(init=False)
    _ended: bool = attrs.field(init=False, default=False)
    place: Place | None = attrs.field(init=False, default=None)
    waiting: bool = attrs.field(init=False, default=False)
    """Whether it stands in the queue for a place, with nothing done yet."""
    blob: Opened | None = attrs.field(init=False, default=None)
    give_share_back: Callable[[], None] | None = attrs.field(init=False, default=None)
    """Where requests of one client are counted: what to call at the end."""

    def __attrs_post_init__(self) -> None:
        account = self._account
        self.facts, self._started = account.facts, account.reporter.clock.seconds()

    async def take_place(self, admission: Admission) -> None:
        """Wait for a place under the cap, to be held until the end. Raises OverloadedError."""
        if self.place is not None:
            return
        self.waiting = True
        try:
            self.place = await admission.acquire()
        finally:
            self.waiting = False

    @property
    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self._ended

    def take_place_now(self, admission: Admission) -> bool:
        """Take a place if there is one at once."""
        self.place = admission.try_acquire()
        return self.place is not None

    def give_place_up(self) -> bool:
        """Let another request have the place; false if there is none."""
        place, self.place = self.place, None
        if place is not None:
            place.release()
        return place is not None

    def give_up(self) -> None:
        """Release everything without a word: the request is answered in another exchange."""
        self._ended = True
        self._release()

    def end(self, ending: Ending, status: int, bytes_sent: int) -> None:
        """Release everything, count and log; a second call does nothing.

        `bytes_sent` are the bytes of the body that left the server.
        """
        if self._ended:
            return
        self._ended, account = True, self._account
        seconds = max(0.0, account.reporter.clock.seconds() - self._started)
        try:
            self._release()
        finally:
            account.count(status, bytes_sent, seconds, self.blob)
            if ending is not Ending.COMPLETE:
                account.reporter.metrics.broken_off(ending.value)
            account.write(
                quote(self.request_id), status, f'"{ending}"', bytes_sent, f"{seconds:.6f}", quote(self.client)
            )

    def _release(self) -> None:
        if self.give_share_back is not None:
            self.give_share_back()
        if self.place is not None:
            self.place.release()
        if self.blob is not None:
            self.blob.close()
