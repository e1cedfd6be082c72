"""When several processes are ready: once each of them has said so."""

from __future__ import annotations

import attrs

from aero_storage.linux.sd_notify import Notifier

_PARENT = 0


@attrs.define(eq=False)
class Readiness:
    """Tells somebody how parent and workers are together; itself the Notifier of the parent.

    A worker that dies while it is awaited is awaited still: its successor answers for it, once it serves.
    """

    _workers: int
    _notifier: Notifier
    _awaited: set[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._await_all()

    def _await_all(self) -> None:
        self._awaited = set(range(_PARENT, self._workers + 1))

    def ready(self) -> None:
        """The parent has done its part."""
        self.answer(_PARENT)

    def answer(self, worker: int) -> None:
        """The worker of this number serves, with the catalog as it was on disk since it was last asked."""
        if worker in self._awaited:
            self._awaited.remove(worker)
            if not self._awaited:
                self._notifier.ready()

    def reloading(self) -> None:
        """All have been asked to read the catalog again."""
        self._notifier.reloading()
        self._await_all()

    def stopping(self) -> None:
        """All are to end."""
        self._notifier.stopping()
