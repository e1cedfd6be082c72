"""Tries of one request to the store, within one time limit for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs

from aero_storage.storage.objects.store_failures import StoreFailureError

T = TypeVar("T")
FULL_TRY, LAST_TRY = 0.3, 0.1
"""Shares of the time limit that one try may take: three that hang fit with pauses between them."""

_FIRST_DELAY, _MOST_DELAY = 1 / 200, 1 / 10  # shares too: 0.1 s and 2 s of 20 s


@attrs.frozen
class Retries:
    """Repeats what may succeed, with growing delays, each at random between half and all of it."""

    clock: Callable[[], float]
    sleep: Callable[[float], object]
    random: Callable[[], float]
    """Returns a number from 0 to 1."""

    def run(self, attempt: Callable[[float], T], seconds: float) -> T:
        """Return the result of `attempt(share)`, which takes at most that share of `seconds`.

        Raises the last StoreFailureError when no further try would end within `seconds`, or none would help.
        """
        deadline, delay = self.clock() + seconds, _FIRST_DELAY * seconds
        while True:
            left = deadline - self.clock()
            try:
                return attempt(FULL_TRY if left >= FULL_TRY * seconds else LAST_TRY)
            except StoreFailureError as failure:
                pause = delay * (0.5 + self.random() / 2)
                if not failure.is_retried or self.clock() + pause + LAST_TRY * seconds > deadline:
                    raise
            self.sleep(pause)
            delay = min(delay * 2, _MOST_DELAY * seconds)
