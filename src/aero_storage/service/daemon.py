"""From a parsed command line to a running daemon: what is built, what is started, what is stopped."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Mapping
from importlib.metadata import version as package_version

import attrs
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import LoopingCall

from aero_storage.catalog.keeper import CatalogKeeper
from aero_storage.catalog.reader import CatalogReader
from aero_storage.delivery.account import Reporter
from aero_storage.delivery.admission import Admission
from aero_storage.delivery.desk import Desk
from aero_storage.delivery.operations import Build
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.routes import routes
from aero_storage.delivery.shares import Shares
from aero_storage.delivery.virtual import VirtualChunks
from aero_storage.delivery.watch import POLL_SECONDS, CatalogWatch
from aero_storage.errors import SettingsError
from aero_storage.logs import EventLog
from aero_storage.metrics import Metrics, Registry
from aero_storage.protocol.cors import CorsPolicy
from aero_storage.protocol.forwarded import TrustedProxies
from aero_storage.service.accepting import Doorkeeper
from aero_storage.service.base import SetSignal, SignalledService
from aero_storage.service.descriptors import complain_if_few, raise_limit
from aero_storage.service.gauges import DelayProbe, show_log, show_state
from aero_storage.service.heap import GIVE_BACK_SECONDS, give_back, keep_heap_small
from aero_storage.service.listening import address_text, listen
from aero_storage.service.options import Options, prepare_images_root, refuse
from aero_storage.service.parent import ParentService, number_of_workers, supervise
from aero_storage.service.steady import keep_steady
from aero_storage.service.threads import Threads, make_threads
from aero_storage.settings import Settings
from aero_storage.store.images import LocalStore
from aero_storage.store.local import LocalDirectory
from aero_storage.store.opened import OpenFiles
from aero_storage.streaming.pacing import throttle
from aero_storage.supervision.notify import service_manager
from aero_storage.web.app import build_resource
from aero_storage.web.crowd import Limits, Reason, Refusals
from aero_storage.web.express import ExpressLane
from aero_storage.web.header_names import remember_few_header_names
from aero_storage.web.respond import Responder
from aero_storage.web.sending import FileSender
from aero_storage.web.site import ImageSite
from aero_storage.web.stalls import Stalls

OPEN_FILES = 256
"""Files kept open for the next request: a quarter of the descriptors that a process may have by default."""

_GARBAGE_THRESHOLD = 10_000
"""New objects after which Python looks for cycles among them; a request makes some fifty, and no cycles."""

_STOP_SECONDS = 2.0
"""How long connections that are broken off may take to go."""


@attrs.frozen
class Drain:
    """How the daemon stops, in seconds: how long it serves on, not ready any more; how long responses have then."""

    delay: float
    grace: float


@attrs.frozen
class Parts:
    """What the service starts and stops."""

    reactor: PosixReactorBase
    log: EventLog
    threads: Threads
    watch: CatalogWatch
    desk: Desk
    site: ImageSite
    store: LocalStore
    doorkeeper: Doorkeeper
    drain: Drain
    ports: tuple[IListeningPort, ...] = ()


def makeService(options: Options, reactor: PosixReactorBase | None = None) -> AeroService | ParentService:
    """The service of a parsed command line: bound to its addresses, not yet started.

    Raises SystemExit with one line if the images root cannot be used or an address cannot be listened at.
    """
    if reactor is None:
        from twisted.internet import reactor as installed  # noqa: PLC0415 - a dropin must not install one early

        reactor = installed  # type: ignore[assignment]
    assert reactor is not None  # noqa: S101
    keep_steady(reactor)
    keep_heap_small()
    resolved = options.resolved
    raise_limit(reactor)
    try:
        prepare_images_root(resolved)
        workers = number_of_workers(resolved.settings)
        if workers > 1:
            return supervise(options, reactor, workers)
        threads = make_threads(reactor)
        parts = compose(resolved.settings, reactor, threads, options.log, options.environ)
        parts = attrs.evolve(parts, ports=listen(reactor, parts.site, resolved, threads.readers))
        service = AeroService(parts)
        service.notifier = service_manager(options.environ, reactor, options.log)
    except SettingsError as error:
        refuse(error)
    return service


def compose(
    settings: Settings, reactor: PosixReactorBase, threads: Threads, log: EventLog, environ: Mapping[str, str]
) -> Parts:
    """Build everything that the settings ask for, upwards from the disk, and read the catalog."""
    remember_few_header_names()
    version = package_version("aero-storage")
    metrics = Metrics(Registry(), version, settings.image_metrics_max_ids)
    disk, keeper = threads.disk, CatalogKeeper()
    reader = CatalogReader(settings.images_root, settings.require_manifest)
    watch = CatalogWatch(reader, keeper, threads.patient, metrics, log, time.time)
    watch.load()
    policy = policy_of(settings)
    store = LocalStore(LocalDirectory(settings.images_root), disk, OpenFiles(disk, reactor, OPEN_FILES))
    admission = Admission(settings.max_concurrent_bytes_requests, settings.bytes_queue_timeout_secs, reactor)
    desk = Desk(
        policy,
        build_of(version, environ),
        settings.metrics_auth_token,
        Reporter(reactor, threads.patient, metrics, log if settings.request_log else None),
        keeper,
        store,
        admission,
        VirtualChunks(policy, log),
    )
    sender = FileSender()
    responder = Responder(desk, sender, threads.readers, reactor, log)
    resource = build_resource(routes(metrics=not settings.disable_metrics), responder.respond)
    lane = ExpressLane(desk, sender, log) if settings.express else None
    limits = limits_of(settings, policy.proxies)
    refusals = Refusals(limits, metrics, log, reactor)
    if limits.most_per_client:
        desk.shares = Shares(limits.most_per_client, limits.is_exempt)
        desk.overdrawn = lambda: refusals(Reason.CLIENT)
    site = ImageSite(resource, reactor, lane, limits, refusals)
    site.throttle = throttle(reactor, settings.max_bytes_per_second, settings.max_total_bytes_per_second)
    look_after_stalls(site, admission, reactor, settings.stall_timeout_secs, metrics, log)
    show_state(metrics, admission, site, keeper)
    show_log(metrics, log)
    doorkeeper = Doorkeeper(reactor, site.make_room, metrics, log)
    desk.ran_out = doorkeeper.ran_out
    drain = Drain(settings.drain_delay_secs, settings.shutdown_grace_secs)
    return Parts(reactor, log, threads, watch, desk, site, store, doorkeeper, drain)


def look_after_stalls(  # noqa: PLR0913, PLR0917 - who is looked after, and who is told
    site: ImageSite, admission: Admission, clock: IReactorTime, timeout: float, metrics: Metrics, log: EventLog
) -> None:
    """Have streams broken off, or their places given to others, whose clients take nothing."""

    def broken_off(request_id: str | None, seconds: float) -> None:
        metrics.stream_stalled()
        fields = {"request_id": request_id, "stalled_seconds": round(seconds, 1)}
        log.event("info", "response broken off: the client takes nothing", fields)

    site.stalls = Stalls(
        clock, timeout, site.channels, lambda: admission.waiting, metrics.place_taken_back, broken_off
    )
    admission.crowded = site.stalls.make_room


def limits_of(settings: Settings, proxies: TrustedProxies) -> Limits:
    """The part of the settings that limits connections."""
    return Limits(
        header_timeout=settings.header_timeout_secs,
        idle_timeout=settings.idle_timeout_secs,
        most=settings.max_connections,
        most_per_client=settings.max_connections_per_client,
        is_exempt=proxies.is_trusted,
    )


def policy_of(settings: Settings) -> Policy:
    """The part of the settings that decisions hang on."""
    return Policy(
        cors=CorsPolicy(settings.cors_origin, settings.cors_preflight_max_age_secs),
        resource_policy=settings.cross_origin_resource_policy,
        max_range_bytes=settings.max_range_bytes,
        max_chunk_bytes=settings.max_chunk_bytes,
        virtual_chunks=settings.virtual_chunks,
        virtual_chunk_bytes=settings.virtual_chunk_bytes,
        limit_open_ended=settings.open_ended_ranges == "limit",
        require_range=settings.require_range,
        public_max_age=settings.public_cache_max_age_secs,
        proxies=TrustedProxies.of(settings.trusted_proxy),
    )


def build_of(version: str, environ: Mapping[str, str]) -> Build:
    """What `/version` says; whoever packages the daemon may set the two variables."""
    return Build(version, environ.get("AERO_STORAGE_GIT_SHA") or "dev", environ.get("AERO_STORAGE_BUILT_AT") or "")


class AeroService(SignalledService):
    """The running daemon."""

    def __init__(self, parts: Parts, set_signal: SetSignal = signal.signal) -> None:
        super().__init__(parts.reactor, parts.log, set_signal)
        self._parts = parts
        self._poll = LoopingCall(lambda: Deferred.fromCoroutine(parts.watch.check()))
        self._giving_back = LoopingCall(lambda: parts.threads.patient.later(give_back, give_back))
        self._poll.clock = self._giving_back.clock = parts.reactor
        self._probe = DelayProbe(parts.reactor, parts.desk.reporter.metrics.reactor_delayed)

    def startService(self) -> None:
        """Start threads, timers and signal handlers, and say where we listen."""
        super().startService()
        parts = self._parts
        parts.threads.start()
        parts.reactor.addSystemEventTrigger("after", "shutdown", parts.threads.stop)
        self._poll.start(POLL_SECONDS, now=False)
        self._giving_back.start(GIVE_BACK_SECONDS, now=False)
        self._probe.start()
        gc.collect()
        gc.freeze()  # what there is by now stays: no need to look at it again and again
        gc.set_threshold(_GARBAGE_THRESHOLD)
        complain_if_few(parts.log, parts.site.limits, OPEN_FILES)
        for port in parts.ports:
            parts.doorkeeper.keep(port)
            parts.log.event("info", "listening", {"address": address_text(port.getHost())})

    async def read_again(self) -> None:
        """See SignalledService."""
        await self._parts.watch.check(asked=True)

    async def _shut(self) -> None:
        parts = self._parts
        parts.desk.shutting_down = True
        parts.site.retire()
        await self.patience.wait(parts.drain.delay)
        for repeated in (self._poll, self._giving_back):
            if repeated.running:
                repeated.stop()
        self._probe.stop()
        await gatherResults([maybeDeferred(port.stopListening) for port in parts.ports], consumeErrors=True)
        parts.doorkeeper.close()
        await self._drain()
        gone = parts.site.shut()
        gone.addTimeout(_STOP_SECONDS, parts.reactor, onTimeoutCancel=lambda _result, _seconds: None)
        await gone
        parts.store.close()
        await parts.threads.rest(parts.reactor, parts.log)
        self.end_log()

    async def _drain(self) -> None:
        """Close idle connections, and let responses that are under way be finished."""
        site, log, grace = self._parts.site, self._parts.log, self._parts.drain.grace
        site.drain().addCallback(lambda _: self.patience.skip())
        if site.responses:
            log.event("info", "draining", {"responses": site.responses, "grace_seconds": grace})
        if site.channels:
            await self.patience.wait(grace)
        if site.unanswered:
            log.event("info", "closed before all requests were answered", {"connections": site.unanswered})
        if site.responses:
            log.event("info", "breaking off responses", {"responses": site.responses})

    def stopService(self) -> Deferred[None]:
        """Close the ports, let what is under way be finished or break it off, and write out the log."""
        super().stopService()
        return Deferred.fromCoroutine(self._shut())
