"""One worker: the daemon over sockets that it was given, which logs to its parent and obeys it."""

from __future__ import annotations

import os
import pickle
import socket
import sys

import attrs
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner

from aero_storage.logs import DescriptorSink, JsonLines
from aero_storage.service.daemon import AeroService, compose
from aero_storage.service.descriptors import raise_limit
from aero_storage.service.heap import keep_heap_small
from aero_storage.service.parent import Brief
from aero_storage.service.steady import keep_steady
from aero_storage.service.threads import make_threads
from aero_storage.streaming.turns import Turns
from aero_storage.supervision.line import PUSH_SECONDS, ParentLine
from aero_storage.supervision.messages import open_channel
from aero_storage.supervision.process import CHANNEL, LOG


def run() -> None:
    """Read the brief and serve until told to stop."""
    brief: Brief = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our parent, through a pipe that nobody else has
    reactor: PosixReactorBase = installed  # type: ignore[assignment]
    keep_steady(reactor)
    keep_heap_small()
    raise_limit(reactor)
    log = JsonLines(DescriptorSink(LOG), brief.settings.log_level, constant={"worker": brief.number})
    globalLogBeginner.beginLoggingTo([log])
    serve(brief, reactor, log)
    reactor.run(installSignalHandlers=False)  # they stay ignored until the service handles them


def serve(brief: Brief, reactor: PosixReactorBase, log: JsonLines) -> None:
    """Build the daemon and have the reactor start and stop it."""
    threads = make_threads(reactor)
    parts = compose(brief.settings, reactor, threads, log, os.environ)
    turns = Turns(reactor)
    ports = tuple(entrance.open(reactor, parts.site, threads.readers, turns) for entrance in brief.entrances)
    service = AeroService(attrs.evolve(parts, ports=ports))

    def orphaned() -> None:
        service.stop(orphaned="yes")
        service.hurry()

    metrics = parts.desk.reporter.metrics
    line = ParentLine(metrics, lambda: service.stop(asked_by="parent"), service.reload, orphaned)
    service.notifier = line
    parts.desk.total = line.total
    pushing = LoopingCall(line.push)

    async def stop() -> None:
        await service.stopService()
        if pushing.running:
            pushing.stop()
        await line.hang_up()

    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    service.startService()
    reactor.callWhenRunning(open_channel, reactor, socket.socket(fileno=CHANNEL), line.channel)
    reactor.callWhenRunning(pushing.start, PUSH_SECONDS)
