"""Request handling: takes an exchange, finds what it asks for, and returns the reply. Knows no web framework."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import attrs

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Image
from aero_storage.delivery import metadata, operations
from aero_storage.delivery.access import LeaseAccess
from aero_storage.delivery.access_record import AccessRecord, Reporter
from aero_storage.delivery.boot_profiles import ProfileLinks
from aero_storage.delivery.byte_handler import ByteHandler, Memo
from aero_storage.delivery.chunk_links import ChunkLinks
from aero_storage.delivery.client_limits import ClientLimiter
from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.exposition import PacedExposition
from aero_storage.delivery.extents_handler import ExtentsHandler
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.image_list import ImageList
from aero_storage.delivery.lease_replies import LeaseDeniedError, denial
from aero_storage.delivery.lease_route import LeaseRoute
from aero_storage.delivery.missing import LookAnew, Renewal, open_named
from aero_storage.delivery.package_parts import PackageParts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.profile_route import ProfileRoute
from aero_storage.delivery.reply import Reply, error, preflight
from aero_storage.delivery.representation import image_links, version_of
from aero_storage.delivery.routes import PACKAGED, Plane, Resource
from aero_storage.delivery.single_flight import FRESH_SECONDS, SingleFlight
from aero_storage.errors import (
    BlobNotFoundError,
    BlobUnreadableError,
    CatalogError,
    ClientError,
    DescriptorsError,
    DiskHangsError,
    OriginDeniedError,
    OriginUnavailableError,
    OverdrawnError,
    RefusalReason,
)
from aero_storage.http import caching
from aero_storage.http.cors import Headers
from aero_storage.metrics import Counts
from aero_storage.storage.store import BlobRequest, Opened, Store

_ERROR = 400
"""The least status of errors."""

_BY_LEASES = frozenset({Resource.LIST, Resource.LEASE})
"""Resources of which every response hangs on the lease that is presented."""

Total = Callable[[], Awaitable[Counts]]
"""Asks for the counts of all workers together."""


@attrs.define(eq=False)
class RequestHandler:
    """Answers requests from one catalog and one store under one cap."""

    policy: Policy
    build: operations.Build
    metrics_token: str | None = attrs.field(repr=False)
    reporter: Reporter
    _current_catalog: CurrentCatalog
    _store: Store
    _bytes: ByteHandler
    _extents: ExtentsHandler
    _total: Total | None = attrs.field(kw_only=True, default=None)
    """Asks for the counts of all workers together, ours among them; None where there is but this process."""
    _ran_out: Callable[[], object] = attrs.field(kw_only=True, default=lambda: None)
    """Told when a file could not be opened for want of descriptors."""
    _client_limiter: ClientLimiter | None = attrs.field(kw_only=True, default=None)
    """Limits the requests of one client, if anything does."""
    _overdrawn: Callable[[], object] = attrs.field(kw_only=True, default=lambda: None)
    """Told when a client has too many."""
    _look_anew: LookAnew | None = attrs.field(kw_only=True, default=None)
    """Looks at the catalog before an object that it names is called missing."""
    _renewal: Renewal | None = attrs.field(kw_only=True, default=None)
    """Renews a catalog that is a listing of an origin before it is used; None if that is not needed."""
    _is_stale: Callable[[], bool] = attrs.field(kw_only=True, default=lambda: False)
    """Whether the origin of the catalog has not answered for too long."""
    _origin_failed: Callable[[Facts, ClientError], object] = attrs.field(kw_only=True, default=lambda *_told: None)
    """Told of requests that an origin has failed."""
    _fresh_seconds: float = attrs.field(kw_only=True, default=FRESH_SECONDS)
    """For how long a check of all images is used: 0 for a store that remembers them itself."""
    _now: Callable[[], float] = attrs.field(kw_only=True, default=time.time)
    """Seconds since the epoch."""
    _access: LeaseAccess | None = attrs.field(kw_only=True, default=None)
    """Says who may have what; None where leases are off."""
    profiles: ProfileLinks = attrs.field(kw_only=True, factory=ProfileLinks)
    """The stored boot profiles."""
    _chunk_links: ChunkLinks = attrs.field(kw_only=True, factory=ChunkLinks)
    _package_parts: PackageParts = attrs.field(kw_only=True, factory=PackageParts)
    """The client for browsers, and the page."""
    shutting_down: bool = attrs.field(init=False, default=False)
    _readiness: SingleFlight[bool] = attrs.field(init=False)
    _list: ImageList = attrs.field(init=False)
    _lease_route: LeaseRoute = attrs.field(init=False)
    _profile_route: ProfileRoute = attrs.field(init=False)
    _exposition: PacedExposition = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        clock = self.reporter.clock
        self._readiness = SingleFlight(clock, self._fresh_seconds)
        disk, metrics = self.reporter.disk, self.reporter.metrics
        self._list = ImageList(self._store, disk, metrics, clock, self._access, self._fresh_seconds)
        self._lease_route = LeaseRoute(self.policy, self._current_catalog, self._access, self._open, self._now)
        self._profile_route = ProfileRoute(self.policy, self._open, self.profiles, self._access)
        self._exposition = PacedExposition(clock, self._expose)

    def account(self, facts: Facts) -> AccessRecord:
        """Where requests with these facts are told."""
        return AccessRecord(facts, self.reporter)

    def client_of(self, facts: Facts, peer: str | None) -> str | None:
        """The host of the client: `peer`, or, if that is a trusted proxy, the client that the proxy names."""
        return None if peer is None else self.policy.trusted_proxy.client(peer, facts.forwarded)

    def fail(
        self, facts: Facts, status: int, reason: RefusalReason | None, retry_after: int = ClientError.retry_after
    ) -> Reply:
        """The reply to a request that cannot be taken further, in the shape of its plane; `reason` is for the log."""
        return error(facts, self.policy, status, *_retry_after(status, retry_after), reason=reason)

    async def answer(self, exchange: Exchange, range_value: str | None) -> Reply:
        """Return the reply to a request with that `Range`; the exchange owns the file that it opens."""
        return self._varying(exchange, await self._answer(exchange, range_value))

    async def _answer(self, exchange: Exchange, range_value: str | None) -> Reply:
        facts = exchange.facts
        if facts.route is None:
            return self.fail(facts, 404, RefusalReason.ROUTE)
        if facts.method not in facts.route.methods:
            return error(facts, self.policy, 405, ("Allow", facts.route.allow), reason=RefusalReason.METHOD)
        if facts.announces_body:
            return self.fail(facts, 413, RefusalReason.BODY)
        if facts.method == "OPTIONS":
            return preflight(facts, self.policy)
        try:
            self._take_share(exchange)
            if self._renewal is not None and _uses_catalog(facts) and self._renewal.is_due():
                await self._renewal.done()
            if self._access is not None:
                await self._access.admit(exchange)
            return await self._reply(exchange, range_value)
        except ClientError as failure:
            return self._explain(facts, failure)

    def _reply(self, exchange: Exchange, range_value: str | None) -> Awaitable[Reply]:
        plane = exchange.facts.plane
        if exchange.facts.resource is Resource.LEASE:
            return self._lease_route.answer(exchange)
        if exchange.facts.resource in PACKAGED:
            return self._package_parts.answer(exchange.facts, self.policy)
        if plane is Plane.DATA:
            return self._bytes.answer(exchange, range_value)
        return self._metadata(exchange) if plane is Plane.METADATA else self._operations(exchange)

    def _take_share(self, exchange: Exchange) -> None:
        if self._client_limiter is None or exchange.give_share_back or exchange.facts.plane is Plane.OPERATIONS:
            return
        exchange.give_share_back = self._client_limiter.take(exchange.client)
        if exchange.give_share_back is None:
            self._overdrawn()
            raise OverdrawnError("the client has too many requests under way")

    def _explain(self, facts: Facts, failure: ClientError) -> Reply:
        if isinstance(failure, LeaseDeniedError):
            return denial(facts, self.policy, failure.verdict)
        if isinstance(failure, CatalogError):
            self.reporter.metrics.store_failed("manifest")
        elif isinstance(failure, (BlobUnreadableError, OriginUnavailableError, OriginDeniedError)):
            self.reporter.metrics.store_failed("open_range" if facts.plane is Plane.DATA else "meta")
        if isinstance(failure, DescriptorsError):
            self._ran_out()
        if failure.reason is RefusalReason.ORIGIN:
            self._origin_failed(facts, failure)
        return self.fail(facts, failure.status, failure.reason, failure.retry_after)

    async def _operations(self, exchange: Exchange) -> Reply:
        facts, policy = exchange.facts, self.policy
        match facts.resource:
            case Resource.LIVENESS:
                return operations.liveness(facts, policy)
            case Resource.LIVENESS_TEXT:
                return operations.liveness_text(facts, policy)
            case Resource.READINESS:
                return operations.readiness(facts, policy, ready=await self._is_ready())
            case Resource.METRICS:
                return await self._metrics(facts)
            case _:
                return operations.version(facts, policy, self.build)

    async def _metrics(self, facts: Facts) -> Reply:
        refusal = operations.refusal(facts, self.policy, self.metrics_token)
        if refusal is not None:
            return refusal
        paced = self._exposition
        body = await (paced.last() if facts.method == "HEAD" else paced.current())
        return operations.exposition(facts, self.policy, body)

    async def _expose(self) -> bytes:
        total = None if self._total is None else await self._total()
        return self.reporter.metrics.exposition(total)

    async def _is_ready(self) -> bool:
        try:
            images = self._current_catalog.current.images
        except CatalogError:
            return False
        if self.shutting_down or self._is_stale():
            return False
        try:
            return await self._readiness.ask(images, lambda: self._store.complete(images)) and not self.shutting_down
        except (DiskHangsError, OriginUnavailableError, OriginDeniedError):
            return False

    async def _metadata(self, exchange: Exchange) -> Reply:
        facts = exchange.facts
        self._current_catalog.require_valid()
        if not facts.names.valid:
            return metadata.invalid_name_reply(facts, self.policy)
        if facts.names.image_id is None:
            listing = await self._list.listing(exchange, lambda: self._current_catalog.current.images)
            return metadata.list_reply(facts, self.policy, listing)
        if facts.resource is Resource.EXTENTS:
            return await self._extents.answer(exchange)
        if facts.resource is Resource.PROFILE:
            return await self._profile_route.answer(exchange)
        image, opened = await self._open(facts.names.image_id)
        exchange.blob = opened
        if self._access is not None:
            await self._access.admit_to(exchange, image)
            if exchange.hearing is not None:
                version = version_of(image, opened.status)
                self._access.settle(exchange, () if version is None else (version,))
        status = opened.status
        profile, chunks = await self.profiles.know(image, status), await self._chunk_links.has(image, status)
        links = image_links(image.id, profile=profile, chunks=chunks)
        return metadata.image_reply(facts, self.policy, image, status, now=self._now(), links=links)

    async def _open(self, image_id: str, anew: bool = False) -> tuple[Image, Opened]:  # noqa: FBT001, FBT002
        def request() -> tuple[Image, BlobRequest]:
            image = self._find(image_id)
            return image, BlobRequest(image)

        image, wanted = request()
        opened = None if anew else self._store.open_cached(wanted)
        if opened is not None:
            return image, opened
        return await open_named(self._store, self._current_catalog, self._look_anew, request)

    def _find(self, image_id: str) -> Image:
        image = self._current_catalog.current.find(image_id)
        if image is None:
            raise BlobNotFoundError(image_id)
        return image

    def answer_now(self, exchange: Exchange, range_value: str | None, memo: Memo) -> Reply | None:
        """Return the reply to a GET or HEAD for bytes with that `Range`, if nothing has to be waited for.

        None otherwise; the exchange then holds a place at most. `memo` is the same for requests that differ in
        nothing but their range.
        """
        facts = exchange.facts
        if self._renewal is not None and self._renewal.is_due():
            return None
        try:
            self._take_share(exchange)
            reply = self._bytes.answer_now(exchange, range_value, memo)
        except ClientError as failure:
            reply = self._explain(facts, failure)
        return reply if reply is None or reply.status < _ERROR else self._varying(exchange, reply)

    def _varying(self, exchange: Exchange, reply: Reply) -> Reply:
        """Return the reply; an error that hung on a lease, or on the want of one, says so in `Vary` (http.md §12)."""
        if reply.status < _ERROR or self._access is None or not _hangs_on_leases(exchange, reply):
            return reply
        return attrs.evolve(reply, common=caching.by_credentials(reply.common))


def _hangs_on_leases(exchange: Exchange, reply: Reply) -> bool:
    is_refused = reply.refused is not None and reply.refused.reason is RefusalReason.LEASE
    return is_refused or exchange.verdict is not None or exchange.facts.resource in _BY_LEASES


def _uses_catalog(facts: Facts) -> bool:
    is_of_images = facts.plane is not Plane.OPERATIONS and facts.resource not in PACKAGED
    return is_of_images or facts.resource is Resource.READINESS


def _retry_after(status: int, seconds: int) -> Headers:
    busy = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
    return (("Retry-After", str(seconds)),) if busy else ()
