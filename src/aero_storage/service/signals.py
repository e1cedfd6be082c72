"""Common base of daemon and parent: signal handling, and a log that is also the application's."""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import ILogObserver
from twisted.python.components import Componentized

from aero_storage.linux.sd_notify import Notifier
from aero_storage.linux.signal_handlers import set_signal
from aero_storage.logs.json_log import EventLog, JsonLines
from aero_storage.service.interruptible_delay import InterruptibleDelay
from aero_storage.service.listening.endpoints import Address

_STOPPING = (signal.SIGTERM, signal.SIGINT)

SetSignal = Callable[..., object]


class SignalledService(Service):
    """A service that SIGTERM and SIGINT stop with status 0; SIGHUP has catalog, leases and certificates read again.

    `notifier` is notified of readiness, reloads and shutdown.
    """

    name = "aero-storage"
    claim: object = None
    """The right to a cache directory, held as long as the process lives."""
    stops_on_hangup = False
    """Whether SIGHUP stops it, too, as a terminal that is closed sends it."""

    def __init__(
        self, reactor: PosixReactorBase, log: EventLog, notifier: Notifier, set_signal: SetSignal = set_signal
    ) -> None:
        self._notifier = notifier
        self._reactor = reactor
        self._log = log
        self._set_signal = set_signal
        self._stop_causes: set[str] = set()
        self.delay = InterruptibleDelay(reactor)

    def setServiceParent(self, parent: object) -> None:
        """Join an application and become its log observer, so that Twisted's own lines are JSON too."""
        if isinstance(self._log, JsonLines) and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log)
        super().setServiceParent(parent)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses that are listened at."""
        raise NotImplementedError

    def startService(self) -> None:
        """Start the log's thread, and handle signals."""
        super().startService()
        if isinstance(self._log, JsonLines):
            self._log.start()
        # Twisted installs its own handlers at start: replace them in the first turn after that.
        self._reactor.callWhenRunning(self._reactor.callLater, 0, self._handle_signals)

    def _handle_signals(self) -> None:
        reactor = self._reactor
        for number in _STOPPING:
            self._set_signal(number, lambda received, _frame: reactor.callFromThread(self._stop, received))
        if not self.stops_on_hangup:
            self._set_signal(signal.SIGHUP, lambda _received, _frame: reactor.callFromThread(self.reload))
        elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it on purpose
            self._set_signal(signal.SIGHUP, lambda received, _frame: reactor.callFromThread(self._stop, received))
        self._notifier.ready()  # from now on a SIGHUP does not kill the process

    def _stop(self, received: int) -> None:
        self.stop(signal=signal.Signals(received).name)

    def stop(self, **cause: str) -> None:
        """End the process with status 0; `cause` is logged. A second call with the same cause stops at once.

        A worker gets both its parent's command and, if a terminal or a service manager signals all processes, a
        signal: together they count as one call.
        """
        if not self._stop_causes:
            self._set_signal(signal.SIGHUP, signal.SIG_IGN)
            self._log.event("info", "stopping", cause)
            self._notifier.stopping()
            self._reactor.stop()
        elif self._stop_causes & set(cause):
            self.stop_now()
        self._stop_causes |= set(cause)

    def stop_now(self) -> None:
        """Skip the remaining delays of the shutdown."""
        if self.delay.end():
            self._log.event("info", "stopping at once")

    def reload(self) -> None:
        """Read catalog, lease documents and certificates again, changed or not."""
        self._notifier.reloading()
        Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> None:
        await self.reload_catalog()
        self._notifier.ready()

    async def reload_catalog(self) -> None:
        """Read catalog, lease documents and certificates again, here or in the workers."""

    def end_log(self) -> None:
        """Flush the log, with signals ignored: the last step of a shutdown."""
        for number in (*_STOPPING, signal.SIGHUP):  # also after Twisted has removed our handlers
            self._set_signal(number, signal.SIG_IGN)
        if isinstance(self._log, JsonLines):
            self._log.stop()
