"""`twistd aero-storage --workers N`: the parent, which binds, looks after workers, and serves nothing itself."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from importlib.metadata import version

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.posixbase import PosixReactorBase

from aero_storage.errors import SettingsError
from aero_storage.logs import LineLog
from aero_storage.metrics import Metrics, Registry
from aero_storage.service.base import SetSignal, SignalledService
from aero_storage.service.doors import Door, Entrance, open_doors
from aero_storage.service.gauges import show_log
from aero_storage.service.options import Options
from aero_storage.settings import Settings
from aero_storage.supervision.accounts import Accounts
from aero_storage.supervision.muster import Muster
from aero_storage.supervision.notify import VARIABLES, service_manager
from aero_storage.supervision.process import FIRST, Commission, Starter
from aero_storage.supervision.supervisor import Supervisor

_MOST_WORKERS = 128
_LAUNCH = "aero_storage.supervision.launch"


@attrs.frozen
class Brief:
    """All that a worker has to know. A worker that replaces another is told the same."""

    number: int
    settings: Settings
    entrances: tuple[Entrance, ...]


def number_of_workers(settings: Settings) -> int:
    """How many processes are to answer; 0 in the settings is one for every core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return settings.workers or min(cores, _MOST_WORKERS)


def supervise(options: Options, reactor: PosixReactorBase, workers: int) -> ParentService:
    """The service of the parent: bound to its addresses, no worker started yet. Raises SettingsError."""
    if options.parent is not None and options.parent.get("chroot"):
        raise SettingsError("twistd --chroot: workers cannot be started from there; use --workers 1")
    doors = open_doors(reactor, options.resolved, workers)
    metrics = Metrics(Registry(), version("aero-storage"), 0)
    show_log(metrics, options.log)
    accounts = Accounts(reactor, metrics.snapshot)
    muster = Muster(workers, service_manager(options.environ, reactor, options.log))
    starter = Starter(reactor, options.log, accounts, Recruiter(reactor, options, doors).commission, muster.answer)
    settings = options.resolved.settings
    patience = settings.drain_delay_secs + settings.shutdown_grace_secs
    supervisor = Supervisor(starter.start, reactor, options.log, workers, patience)
    service = ParentService(reactor, options.log, doors, supervisor)
    service.drain_delay = settings.drain_delay_secs
    service.notifier = muster
    return service


class Recruiter:
    """Says what a worker is started with; settled once, before `twistd` changes directories and privileges."""

    def __init__(self, reactor: PosixReactorBase, options: Options, doors: tuple[Door, ...]) -> None:
        self._reactor = type(reactor).__module__
        self._settings = options.resolved.settings
        self._doors = doors
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)  # noqa: PTH100 - no links resolved
        ours = {name: value for name, value in options.environ.items() if name not in VARIABLES}
        self._environ = {**ours, "PYTHONPATH": path}

    def commission(self, number: int) -> Commission:
        """For the worker of this number."""
        sockets = [door.sockets[number - 1] for door in self._doors]
        entrances = tuple(
            Entrance(FIRST + index, one.family, door.tls)
            for index, (one, door) in enumerate(zip(sockets, self._doors, strict=True))
        )
        brief = Brief(number, self._settings, entrances)
        return Commission(
            # -P: no directory that the daemon happens to stand in is searched for modules. The number is for `ps`.
            command=[sys.executable, "-P", "-m", _LAUNCH, self._reactor, str(number)],
            environ=self._environ,
            brief=pickle.dumps(brief),
            descriptors=[one.fileno() for one in sockets],
        )


class ParentService(SignalledService):
    """The running parent."""

    drain_delay = 0.0
    """Seconds for which workers serve on after they were told to stop."""

    def __init__(
        self,
        reactor: PosixReactorBase,
        log: LineLog,
        doors: tuple[Door, ...],
        supervisor: Supervisor,
        set_signal: SetSignal = signal.signal,
    ) -> None:
        super().__init__(reactor, log, set_signal)
        self._doors = doors
        self._supervisor = supervisor

    def startService(self) -> None:
        """Start the log and signal handlers, and, once the reactor notices children that end, the workers."""
        super().startService()
        self._reactor.callWhenRunning(self._supervisor.start)

    async def read_again(self) -> None:
        """See SignalledService: every worker is told."""
        self._supervisor.reload()

    def hurry(self) -> None:
        """See SignalledService: the workers are the ones that wait."""
        self.patience.end()
        if self._supervisor.hurry():
            self._log.event("info", "stopping at once")

    async def _shut(self) -> None:
        gone = self._supervisor.stop()
        await self.patience.wait(self.drain_delay)
        closed = [door.close() for door in self._doors]
        await gone
        await gatherResults(closed)
        self.end_log()

    def stopService(self) -> Deferred[None]:
        """Close the doors, stop the workers, and write out the log."""
        super().stopService()
        return Deferred.fromCoroutine(self._shut())
