"""One request from its head to the last byte of its response: owns its resources, and ends in one place."""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from aero_storage.delivery.access_record import AccessRecord
from aero_storage.delivery.admission import Admission, Place
from aero_storage.delivery.facts import Facts, make_request_id
from aero_storage.delivery.hearing import Hearing
from aero_storage.delivery.lease_limits import LeaseLimiter, LeaseUse
from aero_storage.delivery.reply import Reply
from aero_storage.errors import RefusalReason
from aero_storage.http.leases.judgement import Verdict
from aero_storage.http.leases.verification import Lease
from aero_storage.logs.json_lines import quote_text
from aero_storage.storage.store import Opened


class Ending(enum.StrEnum):
    """The outcome of an exchange, as the log names it."""

    COMPLETE = "complete"
    ABORTED = "aborted"
    """Aborted by the server: the file failed, or the server stops."""
    DISCONNECTED = "disconnected"
    """Ended by the client."""
    LEASE_EXPIRED = "lease_expired"
    """Aborted by the server, as its lease has ended, and the time of grace after it."""
    LEASE_REVOKED = "lease_revoked"
    """Aborted by the server, as its lease is revoked."""


@attrs.define(eq=False)
class Exchange:
    """Owns the resources of a request, its place and its blob, and releases them in `end`, exactly once."""

    _account: AccessRecord
    client: str | None = None
    """The client's host."""
    request_id: str = attrs.field(factory=make_request_id)
    peer: str | None = None
    """The host of the peer: the client, or a proxy."""
    is_secure: bool = False
    """Whether it came over TLS."""
    facts: Facts = attrs.field(init=False)
    _started: float = attrs.field(init=False)
    _ended: bool = attrs.field(init=False, default=False)
    place: Place | None = attrs.field(init=False, default=None)
    waiting: bool = attrs.field(init=False, default=False)
    """Whether it waits in the queue for a place, or for its tokens to be verified."""
    blob: Opened | None = attrs.field(init=False, default=None)
    reply: Reply | None = attrs.field(init=False, default=None)
    """The decision, for HEAD too with the segment of a GET; None before there is one."""
    lease: Lease | None = attrs.field(init=False, default=None)
    """The lease by which the request reads a private image; None where it needed none."""
    lease_use: LeaseUse | None = attrs.field(init=False, default=None)
    """Held until the end if the requests of one lease are limited."""
    verdict: Verdict | None = attrs.field(init=False, default=None)
    """The answer to its tokens, or to the want of them; None where nothing hung on them."""
    hearing: Hearing | None = attrs.field(init=False, default=None)
    """Its tokens, where they are judged once more: when they are verified, or for the version that is opened."""
    give_share_back: Callable[[], None] | None = attrs.field(init=False, default=None)
    """Called at the end if requests of one client are counted."""

    def __attrs_post_init__(self) -> None:
        account = self._account
        self.facts, self._started = account.facts, account.reporter.clock.seconds()

    async def take_place(self, admission: Admission) -> None:
        """Wait for a place, which is held until the end. Raises OverloadedError."""
        if self.place is not None:
            return
        self.waiting = True
        try:
            self.place = await admission.acquire(self.client)
        finally:
            self.waiting = False

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._ended

    def begin_at(self, started: float) -> None:
        """Count its time from then on, by the clock."""
        self._started = started

    def take_place_now(self, admission: Admission) -> bool:
        """Take a place if there is one at once; the one that is held is enough."""
        if self.place is None:
            self.place = admission.try_acquire(self.client)
        return self.place is not None

    def take_lease_share(self, limiter: LeaseLimiter) -> None:
        """Count it among the requests of its lease, if it has one, until the end. Raises LeaseOverdrawnError.

        A lease for one version may prove not to be the one that opens the image: then it counts for the other.
        """
        lease, use = self.lease, self.lease_use
        if lease is None or (use is not None and use.identity == lease.identity):
            return
        if use is not None:
            self.lease_use = None
            use.release()
        self.lease_use = limiter.take(lease)

    @property
    def holds_place(self) -> bool:
        """Whether it holds a place that another request could have."""
        return self.place is not None and self.place.is_held

    def give_place_up(self) -> bool:
        """Go on without the place, which another request gets; return False if it holds none."""
        return self.place is not None and self.place.give_up()

    def let_go(self) -> None:
        """Close what was opened: it will be opened anew."""
        opened, self.blob = self.blob, None
        if opened is not None:
            opened.close()

    def end(self, ending: Ending, status: int, bytes_sent: int, reason: RefusalReason | None = None) -> None:
        """Release everything, count and log; a second call does nothing.

        `bytes_sent` is the number of bytes of the body that were sent, `reason` why the response was broken off.
        """
        if self._ended:
            return
        self._ended, account = True, self._account
        seconds = account.reporter.clock.seconds() - self._started
        if seconds < 0:
            seconds = 0.0
        try:
            self._release()
        finally:
            account.count(status, bytes_sent, seconds, self.blob)
            if self.verdict is not None:
                account.reporter.metrics.lease_answered(self.verdict.result)
            if ending is not Ending.COMPLETE:
                account.reporter.metrics.broken_off(ending.value)
            account.write(
                self.reply,
                self.blob,
                quote_text(self.request_id),
                str(status),
                f'"{ending}"',
                str(bytes_sent),
                f"{seconds:.6f}",
                "null" if self.client is None else quote_text(self.client),
                reason=reason,
                verdict=self.verdict,
            )

    def _release(self) -> None:
        if self.give_share_back is not None:
            self.give_share_back()
        if self.lease_use is not None:
            self.lease_use.release()
        if self.place is not None:
            self.place.release()
        if self.blob is not None:
            self.blob.close()
