"""A worker process: the daemon on inherited sockets; logs to its parent and takes its commands."""

from __future__ import annotations

import os
import pickle
import socket
import sys
from functools import partial

import attrs
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner

from aero_storage.errors import SettingsError
from aero_storage.linux.descriptor_limit import raise_limit
from aero_storage.linux.malloc import limit_arenas
from aero_storage.logs.json_log import DescriptorSink, JsonLines
from aero_storage.service.composition import compose
from aero_storage.service.daemon import AeroService
from aero_storage.service.direct_reads import read_directly
from aero_storage.service.disk_pools import make_disk_pools
from aero_storage.service.listening.endpoints import Listening
from aero_storage.service.listening.sibling_sockets import SiblingSockets
from aero_storage.service.listening.worker_sockets import WorkerSocket, present_certificates
from aero_storage.service.monotonic_clock import use_monotonic_clock
from aero_storage.service.parent import WorkerConfig
from aero_storage.settings import OriginUrl
from aero_storage.storage.objects.looks_file import LooksFile
from aero_storage.workers.control_client import PUSH_SECONDS, ControlClient
from aero_storage.workers.control_protocol import open_channel
from aero_storage.workers.worker_process import CHANNEL, LOG


def run() -> None:
    """Read the configuration and serve until stopped."""
    config: WorkerConfig = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our parent, through a private pipe
    reactor: PosixReactorBase = installed  # type: ignore[assignment]
    use_monotonic_clock(reactor)
    read_directly(reactor)
    limit_arenas()
    raise_limit(reactor)
    log = JsonLines(DescriptorSink(LOG), config.settings.log_level, constant={"worker": config.number})
    globalLogBeginner.beginLoggingTo([log])
    try:
        serve(config, reactor, log)
    except SettingsError as error:  # the parent tries again, ever more rarely; other workers serve meanwhile
        log.event("critical", "worker cannot start", {"reason": str(error)})
        sys.exit(1)
    reactor.run(installSignalHandlers=False)  # signals stay ignored until the service handles them


def serve(config: WorkerConfig, reactor: PosixReactorBase, log: JsonLines) -> None:
    """Build the daemon, and register its start and stop with the reactor."""
    pools = make_disk_pools(reactor, for_origin=isinstance(config.settings.images_root, OriginUrl))
    parts = compose(
        config.settings,
        reactor,
        pools,
        log,
        os.environ,
        total=lambda: control.total(),  # noqa: PLW0108 - made below
        looks=None if config.looks is None else LooksFile(config.looks),
    )
    ports = tuple(worker_socket.open(reactor, parts.site, parts.sending) for worker_socket in config.worker_sockets)

    def open_sibling(own: WorkerSocket, descriptor: int) -> IListeningPort:
        socket_of_sibling = attrs.evolve(own, descriptor=descriptor)
        port = socket_of_sibling.open(reactor, parts.site, parts.sending)
        parts.accept_guard.guard(port)
        return port

    def reload(certificates: bytes) -> None:
        present_certificates(config.worker_sockets, certificates)
        service.reload()

    def orphaned() -> None:
        service.stop(orphaned="yes")
        service.stop_now()

    control = ControlClient(
        parts.handler.reporter.metrics,
        lambda: service.stop(asked_by="parent"),
        reload,
        orphaned,
        SiblingSockets([partial(open_sibling, own) for own in config.worker_sockets if own.is_own]),
        log,
    )
    service = AeroService(attrs.evolve(parts, listening=Listening(ports)), control, tells_entries=config.number == 1)
    pushing = LoopingCall(control.push)

    async def stop() -> None:
        await service.stopService()
        if pushing.running:
            pushing.stop()
        await control.close()

    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    service.startService()
    reactor.callWhenRunning(open_channel, reactor, socket.socket(fileno=CHANNEL), control.channel)
    reactor.callWhenRunning(pushing.start, PUSH_SECONDS)
