"""`twistd aero-storage --workers N`: the parent binds addresses and supervises workers; it serves no requests."""

from __future__ import annotations

import os
import pickle
import sys
from importlib.metadata import version

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.posixbase import PosixReactorBase
from typing_extensions import override

from aero_storage.disk import DiskThreads
from aero_storage.errors import SettingsError
from aero_storage.linux.sd_notify import VARIABLES, Notifier, service_manager
from aero_storage.linux.signal_handlers import set_signal
from aero_storage.logs.json_log import LineLog
from aero_storage.metrics import Metrics, Registry
from aero_storage.service.certificate_renewal import CertificateRenewal
from aero_storage.service.disk_pools import make_certificate_threads
from aero_storage.service.listening.endpoints import Address
from aero_storage.service.listening.served_certificate import ServedCertificate
from aero_storage.service.listening.worker_sockets import (
    SharedAddress,
    WorkerOwnSockets,
    WorkerSocket,
    open_worker_sockets,
    pack_certificates,
)
from aero_storage.service.metric_sources import lines_dropped_by
from aero_storage.service.options import Options
from aero_storage.service.signals import SetSignal, SignalledService
from aero_storage.settings import OriginUrl, Settings
from aero_storage.storage.objects.looks_file import LooksFile
from aero_storage.workers.control_protocol import Kind
from aero_storage.workers.metric_totals import MetricTotals
from aero_storage.workers.readiness import Readiness
from aero_storage.workers.supervisor import Supervisor
from aero_storage.workers.worker_process import FIRST, WorkerCommand, WorkerStarter

_MOST_WORKERS = 128
_LAUNCH = "aero_storage.service.worker_main"


@attrs.frozen
class WorkerConfig:
    """The configuration of a worker; a replacement gets the same one."""

    number: int
    settings: Settings
    worker_sockets: tuple[WorkerSocket, ...]
    looks: int | None = None
    """The descriptor of the looks at a bucket that all workers have in common."""


def number_of_workers(settings: Settings) -> int:
    """Return the number of worker processes; 0 in the settings is one for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return settings.workers or min(cores, _MOST_WORKERS)


def supervise(options: Options, reactor: PosixReactorBase, workers: int) -> ParentService:
    """Return the parent's service, bound to its addresses, without workers yet. Raises SettingsError."""
    if options.parent is not None and options.parent.get("chroot"):
        raise SettingsError("twistd --chroot: workers cannot be started from there; use --workers 1")
    addresses = open_worker_sockets(reactor, options.resolved, workers)
    metrics = Metrics(Registry(), version("aero-storage"), 0, lines_dropped=lines_dropped_by(options.log))
    totals = MetricTotals(reactor, metrics.snapshot)
    readiness = Readiness(workers, service_manager(options.environ, reactor, options.log))
    own_sockets = WorkerOwnSockets(addresses)

    def heard(number: int, kind: Kind) -> None:
        supervisor.heard(number)
        if kind is Kind.READY:
            supervisor.ready(number)
            readiness.answer(number)
        elif kind is Kind.STOPPING:
            supervisor.stopping(number)

    command_for = WorkerCommands(reactor, options, addresses).command_for
    starter = WorkerStarter(reactor, options.log, totals, command_for, heard, own_sockets.descriptors)
    settings = options.resolved.settings
    grace = settings.drain_delay_secs + settings.shutdown_grace_secs
    supervisor = Supervisor(starter.start, reactor, options.log, workers, grace, own_sockets)
    threads, delay = make_certificate_threads(reactor), settings.drain_delay_secs
    return ParentService(reactor, options.log, readiness, addresses, supervisor, delay, threads, metrics)


class WorkerCommands:
    """Makes the commands that start workers; it is made before `twistd` changes directories and privileges."""

    def __init__(self, reactor: PosixReactorBase, options: Options, addresses: tuple[SharedAddress, ...]) -> None:
        self._reactor = type(reactor).__module__
        self._settings = options.resolved.settings
        self._addresses = addresses
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)  # noqa: PTH100 - no links resolved
        ours = {name: value for name, value in options.environ.items() if name not in VARIABLES}
        self._environ = {**ours, "PYTHONPATH": path}
        self._looks = LooksFile.create() if isinstance(self._settings.images_root, OriginUrl) else None

    def command_for(self, number: int) -> WorkerCommand:
        """Return the command for the worker of this number."""
        sockets = [address.sockets[number - 1] for address in self._addresses]
        worker_sockets = tuple(
            WorkerSocket(FIRST + index, one.family, _for_worker(address), is_own=address.backlog is not None)
            for index, (one, address) in enumerate(zip(sockets, self._addresses, strict=True))
        )
        shared = () if self._looks is None else (self._looks.descriptor,)
        looks = FIRST + len(sockets) if shared else None
        config = WorkerConfig(number, self._settings, worker_sockets, looks)
        return WorkerCommand(
            # -P: the working directory is not searched for modules. The number is for `ps`.
            command=[sys.executable, "-P", "-m", _LAUNCH, self._reactor, str(number)],
            environ=self._environ,
            config=pickle.dumps(config),
            descriptors=[*(one.fileno() for one in sockets), *shared],
        )


def _for_worker(address: SharedAddress) -> ServedCertificate | None:
    return None if address.tls is None else address.tls.for_worker()


class ParentService(SignalledService):
    """The running parent; workers continue to serve for `drain_delay_secs` seconds after the command to stop.

    It alone reads certificates anew, in `threads`: all workers and their successors present the same.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the composition root has one call
        self,
        reactor: PosixReactorBase,
        log: LineLog,
        notifier: Notifier,
        addresses: tuple[SharedAddress, ...],
        supervisor: Supervisor,
        drain_delay_secs: float,
        threads: DiskThreads,
        metrics: Metrics,
        set_signal: SetSignal = set_signal,
    ) -> None:
        super().__init__(reactor, log, notifier, set_signal)
        self._addresses = addresses
        self._supervisor = supervisor
        self._drain_delay_secs = drain_delay_secs
        self._threads = threads
        certificates = [address.tls for address in addresses if address.tls is not None]
        self._renewal = CertificateRenewal(certificates, threads, metrics, log)

    @property
    @override
    def addresses(self) -> tuple[Address, ...]:
        return tuple(address.address for address in self._addresses)

    def startService(self) -> None:
        """Start the log and the signal handlers, and the workers once the reactor handles SIGCHLD."""
        super().startService()
        self._threads.pool.start()
        self._reactor.callWhenRunning(self._supervisor.start)

    @override
    async def reload_catalog(self) -> None:
        await self._renewal.renew()
        self._supervisor.reload(pack_certificates(self._addresses))

    @override
    def stop_now(self) -> None:
        # The delay before a shutdown runs in the workers.
        self.delay.end()
        if self._supervisor.stop_now():
            self._log.event("info", "stopping at once")

    async def _shut(self) -> None:
        gone = self._supervisor.stop()
        await self.delay.wait(self._drain_delay_secs)
        closed = [address.close() for address in self._addresses]
        await gone
        await gatherResults(closed)
        if not self._threads.under_way:  # else it ends with the process
            self._threads.pool.stop()
        self.end_log()

    def stopService(self) -> Deferred[None]:
        """Close the addresses, stop the workers, and flush the log."""
        super().stopService()
        return Deferred.fromCoroutine(self._shut())
