"""The daemon of one process: startup and graceful shutdown."""

from __future__ import annotations

import gc

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.task import LoopingCall
from typing_extensions import override

from aero_storage.linux.descriptor_limit import warn_if_low
from aero_storage.linux.malloc import TRIM_SECONDS, trim
from aero_storage.linux.sd_notify import Notifier
from aero_storage.linux.signal_handlers import set_signal
from aero_storage.service.certificate_renewal import CertificateRenewal
from aero_storage.service.composition import Parts
from aero_storage.service.images_root import OPEN_FILES
from aero_storage.service.lease_reload import POLL_SECONDS
from aero_storage.service.listening.endpoints import Address, address_text
from aero_storage.service.metric_sources import DelayProbe
from aero_storage.service.profile_warming import CHECK_SECONDS
from aero_storage.service.signals import SetSignal, SignalledService
from aero_storage.service.unserved_entries import LOOK_SECONDS
from aero_storage.web.connection_limits import MAX_BEYOND

_GARBAGE_THRESHOLD = 10_000
"""Threshold of Python's cycle collector, in new objects; a request makes about fifty, and no cycles."""

_STOP_SECONDS = 2.0
"""Time for aborted connections to close."""


class AeroService(SignalledService):
    """The running daemon; one of several workers tells of catalog entries that cannot be served."""

    def __init__(
        self,
        parts: Parts,
        notifier: Notifier,
        set_signal: SetSignal = set_signal,
        *,
        tells_entries: bool = True,
    ) -> None:
        super().__init__(parts.reactor, parts.log, notifier, set_signal)
        self._parts = parts
        self._tells_entries = tells_entries
        self._poll = LoopingCall(lambda: Deferred.fromCoroutine(parts.reloader.check()))
        self._trimming = LoopingCall(lambda: parts.pools.patient.later(trim, trim))
        self._entries = LoopingCall(lambda: Deferred.fromCoroutine(self._look_at_entries()))
        self._leases = LoopingCall(lambda: Deferred.fromCoroutine(self._look_at_leases()))
        self._profiles = LoopingCall(lambda: Deferred.fromCoroutine(parts.handler.profiles.refresh()))
        self._warming = LoopingCall(lambda: Deferred.fromCoroutine(self._warm_profiles()))
        for repeated in self._repeated:
            repeated.clock = parts.reactor
        metrics = parts.handler.reporter.metrics
        self._renewal = CertificateRenewal(parts.listening.certificates, parts.pools.disk, metrics, parts.log)
        self._probe = DelayProbe(parts.reactor, metrics.reactor_delayed)

    @property
    @override
    def addresses(self) -> tuple[Address, ...]:
        return self._parts.listening.addresses

    def startService(self) -> None:
        """Start threads, timers and signal handlers, and log the addresses."""
        super().startService()
        parts = self._parts
        parts.pools.start()
        parts.root.start()
        parts.sending.start()
        parts.reactor.addSystemEventTrigger("after", "shutdown", parts.pools.stop)
        self._poll.start(parts.root.poll_seconds, now=False)
        self._trimming.start(TRIM_SECONDS, now=False)
        if self._tells_entries or parts.root.is_remote:
            self._entries.start(LOOK_SECONDS)
        if parts.leases is not None:
            self._leases.start(POLL_SECONDS)
        self._profiles.start(parts.root.fresh_seconds / 2, now=False)
        if self._tells_entries and parts.warming is not None:
            self._warming.start(CHECK_SECONDS, now=False)
        self._probe.start()
        gc.collect()
        gc.freeze()  # these objects stay for good: the collector need not visit them again
        gc.set_threshold(_GARBAGE_THRESHOLD)
        warn_if_low(parts.log, parts.site.limits.max_connections, MAX_BEYOND, OPEN_FILES)
        for port in parts.listening.ports:
            parts.accept_guard.guard(port)
            parts.log.event("info", "listening", {"address": address_text(port.getHost())})

    @override
    async def reload_catalog(self) -> None:
        self._parts.root.store.look_anew()
        profiles = self._parts.handler.profiles
        profiles.asked = True
        catalog, leases = self._parts.reloader.check(asked=True), self._look_at_leases(asked=True)
        # All at once: a disk that hangs keeps one of them waiting.
        reading = (catalog, leases, self._renewal.renew(), profiles.refresh())
        await gatherResults([Deferred.fromCoroutine(one) for one in reading])

    @property
    def _repeated(self) -> tuple[LoopingCall, ...]:
        return (self._poll, self._trimming, self._entries, self._leases, self._profiles, self._warming)

    async def _look_at_entries(self) -> None:
        parts, tells = self._parts, self._tells_entries
        if tells and parts.private_images is not None:
            parts.private_images.check()
        await parts.unserved.check(is_remote=parts.root.is_remote, tells=tells)

    async def _look_at_leases(self, *, asked: bool = False) -> None:
        if self._parts.leases is not None:
            await self._parts.leases.check(asked=asked)

    async def _warm_profiles(self) -> None:
        if self._parts.warming is not None:
            await self._parts.warming.check()

    async def _shut(self) -> None:
        parts = self._parts
        parts.handler.shutting_down = True
        parts.site.retire()
        if parts.warming is not None:
            parts.warming.stop()
        await self.delay.wait(parts.drain.drain_delay_secs)
        for repeated in self._repeated:
            if repeated.running:
                repeated.stop()
        self._probe.stop()
        await gatherResults([maybeDeferred(port.stopListening) for port in parts.listening.ports], consumeErrors=True)
        parts.accept_guard.close()
        await self._drain()
        gone = parts.site.shut()
        gone.addTimeout(_STOP_SECONDS, parts.reactor, onTimeoutCancel=lambda _result, _seconds: None)
        await gone
        parts.sending.stop()
        parts.root.store.close()
        parts.root.stop()
        await parts.pools.wait_until_idle(parts.reactor, parts.log)
        self.end_log()

    async def _drain(self) -> None:
        """Close idle connections and wait for responses under way, at most for the grace period."""
        site, log, grace = self._parts.site, self._parts.log, self._parts.drain.shutdown_grace_secs
        site.drain().addCallback(lambda _: self.delay.skip())
        if site.responses:
            log.event("info", "draining", {"responses": site.responses, "grace_seconds": grace})
        if site.connections:
            await self.delay.wait(grace)
        if site.unanswered:
            log.event("info", "closed before all requests were answered", {"connections": site.unanswered})
        if site.responses:
            log.event("info", "breaking off responses", {"responses": site.responses})

    def stopService(self) -> Deferred[None]:
        """Close the ports, finish or abort responses under way, and flush the log."""
        super().stopService()
        return Deferred.fromCoroutine(self._shut())
