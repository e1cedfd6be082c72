"""Signals that end a command in the orderly way of Ctrl-C."""

from __future__ import annotations

import signal

WHEN_INTERRUPTED = "the images root is as it was, or the change is complete"
"""The state that an interrupted command tells of, unless it tells of another."""


class InterruptedBySignal(KeyboardInterrupt):
    """A signal that ends a command as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def signal_of(interrupt: BaseException) -> int:
    """Return the number of the signal behind a KeyboardInterrupt."""
    return interrupt.number if isinstance(interrupt, InterruptedBySignal) else int(signal.SIGINT)
