"""Readiness of several processes: reported once each of them is ready."""

from __future__ import annotations

import attrs

from aero_storage.linux.sd_notify import Notifier

_PARENT = 0


@attrs.define(eq=False)
class Readiness:
    """Reports the state of parent and workers together to `notifier`; the Notifier of the parent.

    A worker that dies before it is ready is awaited further: its replacement answers for it.
    """

    _workers: int
    _notifier: Notifier
    _awaited: set[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._await_all()

    def _await_all(self) -> None:
        self._awaited = set(range(_PARENT, self._workers + 1))

    def ready(self) -> None:
        """The parent is ready."""
        self.answer(_PARENT)

    def answer(self, worker: int) -> None:
        """Worker `worker` is ready, with the catalog as it was on disk when it was last asked or later."""
        if worker in self._awaited:
            self._awaited.remove(worker)
            if not self._awaited:
                self._notifier.ready()

    def reloading(self) -> None:
        """All processes have been asked to read the catalog again."""
        self._notifier.reloading()
        self._await_all()

    def stopping(self) -> None:
        """All processes are stopping."""
        self._notifier.stopping()
