"""Tries of one request to the store, within one time limit for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs

from aero_storage.storage.objects.store_failures import StoreFailureError

T = TypeVar("T")
FULL_TRY, LAST_TRY = 0.3, 0.1
"""Shares of the time limit that one try may take: three that hang fit with pauses between them."""

_SLOW_TRIES = 3
_FIRST_DELAY, _MOST_DELAY = 1 / 200, 1 / 10  # shares too: 0.1 s and 2 s of 20 s


def ignore(_failure: StoreFailureError, _seconds: float) -> None:
    """Take no note of a failure after which there is another try."""


@attrs.frozen
class Retries:
    """Repeats what may succeed, with growing delays, each at random between half and all of it."""

    clock: Callable[[], float]
    sleep: Callable[[float], object]
    random: Callable[[], float]
    """Returns a number from 0 to 1."""

    def run(
        self,
        attempt: Callable[[float], T],
        seconds: float,
        *,
        transfer: float = 0.0,
        waits: Callable[[StoreFailureError, float], object] = ignore,
    ) -> T:
        """Return the result of `attempt(limit)`, which takes at most so many seconds, under a third of `seconds`.

        With `transfer` each try has so many seconds more for its content; they do not count for the first three slow
        tries. A store that fails at once is not tried for longer. `waits` is told of a failure before the pause after
        it, and of the seconds that all tries have taken by then.

        Raises the last StoreFailureError when no further try would end in time, or none would help.
        """
        start = self.clock()
        deadline, delay, uncounted = start + seconds, _FIRST_DELAY * seconds, _SLOW_TRIES * transfer
        while True:
            began = self.clock()
            share = FULL_TRY if deadline - began >= FULL_TRY * seconds else LAST_TRY
            try:
                return attempt(share * seconds + transfer)
            except StoreFailureError as failure:
                taken = min(self.clock() - began, transfer, uncounted)
                deadline, uncounted = deadline + taken, uncounted - taken
                pause = delay * (0.5 + self.random() / 2)
                if not failure.is_retried or self.clock() + pause + LAST_TRY * seconds > deadline:
                    raise
                waits(failure, self.clock() - start)
            self.sleep(pause)
            delay = min(delay * 2, _MOST_DELAY * seconds)
