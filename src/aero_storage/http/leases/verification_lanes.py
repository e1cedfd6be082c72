"""Two queues of new tokens: clients that have shown a bad one of late wait behind those that have not.

A crowd of addresses that guess would else hold every place, and an honest newcomer would find none.
"""

from __future__ import annotations

from typing import Generic

import attrs

from aero_storage.http.leases.verification_queue import VerificationQueue, W

SUSPECT_SECONDS = 60.0
"""For this time after a failure a client is a suspect."""

_ROUND = 4
"""One turn of so many is of the suspects, if both queues have work: an honest client may share its address."""


@attrs.define(eq=False)
class VerificationLanes(Generic[W]):
    """Work that waits for the budget, in the queue of suspects or in that of all others."""

    _others: VerificationQueue[W] = attrs.field(factory=VerificationQueue)
    _suspects: VerificationQueue[W] = attrs.field(factory=VerificationQueue)
    _turns: int = attrs.field(init=False, default=0)

    def __len__(self) -> int:
        """Number of works that wait."""
        return len(self._others) + len(self._suspects)

    def add(self, client: str, work: W, *, suspect: bool) -> W | None:
        """Let work wait, and return the work that is refused for it, as VerificationQueue does."""
        return (self._suspects if suspect else self._others).add(client, work)

    def next(self) -> W | None:
        """Take the work whose turn it is; None if none waits."""
        self._turns = (self._turns + 1) % _ROUND
        first, second = (self._others, self._suspects) if self._turns else (self._suspects, self._others)
        work = first.next()
        return second.next() if work is None else work

    def remove(self, client: str, work: W) -> bool:
        """Take out work of which nobody wants the result any more; False if it was not waiting."""
        return self._others.remove(client, work) or self._suspects.remove(client, work)
