"""The composition root: builds everything that the settings ask for, upwards from the disk."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from importlib.metadata import version as package_version
from typing import cast

import attrs
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.internet.posixbase import PosixReactorBase

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.reader import CatalogReader
from aero_storage.delivery.access_record import Reporter
from aero_storage.delivery.admission import Admission
from aero_storage.delivery.byte_handler import ByteHandler
from aero_storage.delivery.chunk_links import ChunkLooks
from aero_storage.delivery.chunk_versions import ChunkVersions
from aero_storage.delivery.client_limits import ClientLimiter
from aero_storage.delivery.extents_handler import ExtentsHandler
from aero_storage.delivery.handler import RequestHandler, Total
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.representation import VirtualChunks
from aero_storage.delivery.routes import routes
from aero_storage.delivery.single_flight import FRESH_SECONDS
from aero_storage.http.cors import CorsPolicy
from aero_storage.http.forwarded import TrustedProxies
from aero_storage.linux.inotify import Inotify
from aero_storage.linux.short_timers import ShortTimers
from aero_storage.linux.sock_diag import SockDiag
from aero_storage.logs.json_log import EventLog
from aero_storage.logs.rate_limited import RateLimitedEvent
from aero_storage.metrics import Metrics, Registry
from aero_storage.service.build import build_of
from aero_storage.service.catalog_reload import CatalogReloader
from aero_storage.service.disk_pools import DiskPools
from aero_storage.service.images_root import ImagesRoot, open_images_root
from aero_storage.service.lease_access import access_of
from aero_storage.service.lease_documents import LeaseDocuments, gauges_of_leases, read_lease_documents
from aero_storage.service.lease_reload import LeaseReloader
from aero_storage.service.listening.accept_guard import AcceptGuard
from aero_storage.service.listening.endpoints import Listening
from aero_storage.service.listing_on_demand import ListingOnDemand
from aero_storage.service.metric_sources import gauges_of, lines_dropped_by
from aero_storage.service.origin_failures import OriginFailures
from aero_storage.service.package_files import package_parts
from aero_storage.service.private_images import PrivateImagesWarning
from aero_storage.service.profile_warming import ProfileWarming, profiles_of
from aero_storage.service.speed_limits import lease_limiter_of, throttle_of
from aero_storage.service.unserved_entries import UnservedEntries
from aero_storage.settings import Settings
from aero_storage.storage.objects.looks_file import LooksFile
from aero_storage.streaming.fair_queue import FairQueue
from aero_storage.streaming.files_in_flight import FilesInFlight
from aero_storage.streaming.segment_kinds import SegmentKinds
from aero_storage.streaming.transports import Sending
from aero_storage.streaming.waiting_bodies import WaitingBodies
from aero_storage.web.connection_limits import Limits, Reason, Refusals
from aero_storage.web.connection_site import SiteStream
from aero_storage.web.file_sender import FileSender
from aero_storage.web.lease_watch import LeaseWatch
from aero_storage.web.responder import Responder
from aero_storage.web.response_plans import ResponsePlans
from aero_storage.web.router import build_resource
from aero_storage.web.site import ImageSite
from aero_storage.web.stall_detector import StallDetector, Stream


@attrs.frozen
class Drain:
    """How the daemon stops, in seconds: how long it serves on, not ready any more; how long responses have then."""

    drain_delay_secs: float
    shutdown_grace_secs: float


@attrs.frozen
class Parts:
    """The parts of a daemon, to be started and stopped."""

    reactor: PosixReactorBase
    log: EventLog
    pools: DiskPools
    reloader: CatalogReloader
    handler: RequestHandler
    admission: Admission
    site: ImageSite
    root: ImagesRoot
    sending: Sending
    accept_guard: AcceptGuard
    drain: Drain
    unserved: UnservedEntries
    leases: LeaseReloader | None
    """None while leases are off."""
    private_images: PrivateImagesWarning | None
    """None while leases are on."""
    warming: ProfileWarming | None
    listening: Listening = attrs.field(factory=Listening)


def compose(  # noqa: PLR0913 - what the settings do not say
    settings: Settings,
    reactor: PosixReactorBase,
    pools: DiskPools,
    log: EventLog,
    environ: Mapping[str, str],
    *,
    total: Total | None = None,
    looks: LooksFile | None = None,
    documents: LeaseDocuments | None = None,
) -> Parts:
    """Build everything that the settings ask for, upwards from the disk, and read the catalog.

    `total` asks for the counts of all workers, where this process is one of several; `looks` has their looks at a
    bucket; `documents` are those of leases, which are read here if they were not before. The site is made last; the
    parts that call it are made before it, with functions that look it up when the daemon serves.

    Raises SettingsError.
    """
    version = package_version("aero-storage")
    current_catalog = CurrentCatalog()
    gauges = gauges_of(lambda: admission, lambda: site, lambda: bodies, current_catalog)
    root = open_images_root(settings, pools, reactor, environ, looks)
    documents = documents or read_lease_documents(settings)
    gauges = {**gauges, **root.gauges, **gauges_of_leases(documents, time.time)}
    dropped = lines_dropped_by(log)
    metrics = Metrics(Registry(), version, settings.image_metrics_max_ids, gauges, dropped, collect=root.collect)
    store, reader = root.store, CatalogReader(root.documents, settings.require_manifest)
    reloader = CatalogReloader(reader, current_catalog, pools.patient, metrics, log, time.time)
    reloader.load()
    leases = leases_of(documents, pools, metrics, log)
    look_anew = reloader.look_anew if root.is_remote else None
    policy = policy_of(settings)
    in_force = None if leases is None else leases.in_force
    access = access_of(settings, policy, in_force, current_catalog, reactor)
    limits = limits_of(settings, policy.trusted_proxy)
    refusals = Refusals(limits, metrics, log, reactor)
    accept_guard = AcceptGuard(reactor, lambda: site.make_room(), lambda: site.is_full(), metrics, log)  # noqa: PLW0108 - made below
    admission = Admission(
        settings.max_concurrent_bytes_requests,
        settings.bytes_queue_timeout_secs,
        reactor,
        crowded=lambda: stalls.make_room(),  # noqa: PLW0108 - made below
        given_up=metrics.place_taken_back,
        rejected=metrics.request_rejected,
        waited=metrics.request_waited,
    )
    profiles, warming = profiles_of(settings, root, pools, current_catalog, metrics, log)
    virtual = VirtualChunks(policy, log)
    streams: set[SiteStream] = set()
    stalls = detect_stalls(streams, admission, reactor, settings.stall_timeout_secs, metrics, log)
    lease_watch = None if in_force is None else LeaseWatch(reactor, streams, in_force)
    reporter = Reporter(reactor, pools.patient, metrics, log if settings.request_log else None)
    handler = RequestHandler(
        policy,
        build_of(version, environ),
        settings.metrics_auth_token,
        reporter,
        current_catalog,
        store,
        ByteHandler(
            policy,
            current_catalog,
            store,
            admission,
            virtual,
            look_anew=look_anew,
            lease_limiter=lease_limiter_of(settings, reactor, metrics),
            access=access,
            profiles=profiles,
            chunk_versions=ChunkVersions(store, reactor) if settings.request_log else None,
        ),
        ExtentsHandler(policy, current_catalog, store, reporter, root.late, look_anew=look_anew, access=access),
        profiles=profiles,
        chunk_links=ChunkLooks(store, virtual, reactor, root.fresh_seconds),
        package_parts=package_parts(settings, pools.disk, reactor, log),
        look_anew=look_anew,
        access=access,
        renewal=None if root.polled is None else ListingOnDemand(root.polled, reloader.check, reactor),
        is_stale=root.is_stale,
        fresh_seconds=0 if root.is_remote else FRESH_SECONDS,
        origin_failed=OriginFailures(log, reactor),
        total=total,
        ran_out=accept_guard.ran_out,
        client_limiter=client_limiter_of(limits),
        overdrawn=lambda: refusals(Reason.CLIENT),
    )
    plans = ResponsePlans(handler.account, time.time, settings.express)
    bodies = WaitingBodies(settings.max_waiting_body_bytes, metrics.waiting_body_closed)
    descriptors = cast("IReactorFDSet", reactor)
    in_flight = FilesInFlight(reactor, pools.disk, Inotify(descriptors), log)
    responder = Responder(
        handler, plans, FileSender(), pools.readers, bodies, in_flight, reactor, log, lease_watch=lease_watch
    )
    site = ImageSite(
        build_resource(routes(metrics=not settings.disable_metrics, page=settings.page), responder.respond_routed),
        reactor,
        responder,
        limits,
        refusals,
        streams,
        stalls,
        RateLimitedEvent(log, reactor, "info", "connection closed: its first byte begins no HTTP request"),
        throttle_of(settings, reactor),
        lease_watch,
    )
    unserved = UnservedEntries(store, current_catalog, reactor, log)
    private_images = PrivateImagesWarning(current_catalog, log) if leases is None else None
    drain = Drain(settings.drain_delay_secs, settings.shutdown_grace_secs)
    kinds = SegmentKinds(SockDiag(), ShortTimers(reactor, descriptors))
    sending = Sending(pools.readers, FairQueue(reactor), in_flight, kinds)
    return Parts(
        reactor,
        log,
        pools,
        reloader,
        handler,
        admission,
        site,
        root,
        sending,
        accept_guard,
        drain,
        unserved,
        leases,
        private_images,
        warming,
    )


def leases_of(
    documents: LeaseDocuments | None, pools: DiskPools, metrics: Metrics, log: EventLog
) -> LeaseReloader | None:
    """Return what keeps the lease documents in force, once it has told of them; None while leases are off."""
    if documents is None:
        return None
    leases = LeaseReloader(documents, pools.patient, metrics, log, time.time)
    leases.tell_first()
    return leases


def client_limiter_of(limits: Limits) -> ClientLimiter | None:
    """Return what limits the requests of one client, None without a limit."""
    most = limits.max_connections_per_client
    return ClientLimiter(most, limits.is_exempt) if most else None


def detect_stalls(  # noqa: PLR0913, PLR0917 - what is watched, and what is told
    streams: Collection[Stream],
    admission: Admission,
    clock: IReactorTime,
    timeout: float,
    metrics: Metrics,
    log: EventLog,
) -> StallDetector:
    """Break streams off, or give their places to others, when their clients take nothing."""

    def broken_off(request_id: str | None, seconds: float) -> None:
        metrics.stream_stalled()
        fields = {"request_id": request_id, "stalled_seconds": round(seconds, 1)}
        log.event("info", "response broken off: the client takes nothing", fields)

    return StallDetector(clock, timeout, streams, admission.serve_queue, broken_off)


def limits_of(settings: Settings, proxies: TrustedProxies) -> Limits:
    """The part of the settings that limits connections."""
    return Limits(
        header_timeout_secs=settings.header_timeout_secs,
        idle_timeout_secs=settings.idle_timeout_secs,
        max_connections=settings.max_connections,
        max_connections_per_client=settings.max_connections_per_client,
        is_exempt=proxies.is_trusted,
    )


def policy_of(settings: Settings) -> Policy:
    """The part of the settings that decisions hang on."""
    return Policy(
        cors=CorsPolicy(settings.cors_origin, settings.cors_preflight_max_age_secs),
        cross_origin_resource_policy=settings.cross_origin_resource_policy,
        max_range_bytes=settings.max_range_bytes,
        max_chunk_bytes=settings.max_chunk_bytes,
        virtual_chunks=settings.virtual_chunks,
        virtual_chunk_bytes=settings.virtual_chunk_bytes,
        open_ended_ranges=settings.open_ended_ranges,
        require_range=settings.require_range,
        public_cache_max_age_secs=settings.public_cache_max_age_secs,
        trusted_proxy=TrustedProxies.of(settings.trusted_proxy),
        leases=settings.lease_keys_file is not None,
    )
