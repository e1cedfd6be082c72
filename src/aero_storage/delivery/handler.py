"""The desk: takes an exchange, finds what it asks for, and hands back the reply. Knows no web framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import attrs

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Image
from aero_storage.delivery import metadata, operations
from aero_storage.delivery.access_record import AccessRecord, Reporter
from aero_storage.delivery.byte_handler import ByteHandler, Memo
from aero_storage.delivery.client_limits import ClientLimiter
from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.facts import Facts, make_request_id
from aero_storage.delivery.metadata import Listing
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error, preflight
from aero_storage.delivery.routes import Plane, Resource
from aero_storage.delivery.single_flight import SingleFlight
from aero_storage.errors import (
    BlobNotFoundError,
    BlobUnreadableError,
    CatalogError,
    ClientError,
    DescriptorsError,
    DiskHangsError,
    OverloadedError,
)
from aero_storage.http.cors import Headers
from aero_storage.http.identifiers import NAME_RULE
from aero_storage.metrics import Counts
from aero_storage.storage.store import Store, Survey

_RETRY_SOON = (("Retry-After", "1"),)
_Handler = Callable[[Exchange], Awaitable[Reply]]


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
    total: Callable[[], Awaitable[Counts]] | None = attrs.field(init=False, default=None)
    """Asks for the counts of all workers together, ours among them; None where there is but this process."""
    ran_out: Callable[[], object] = attrs.field(init=False, default=lambda: None)
    """Told when a file could not be opened for want of descriptors."""
    client_limiter: ClientLimiter | None = attrs.field(init=False, default=None)
    """Limits the requests of one client, if anything does."""
    overdrawn: Callable[[], object] = attrs.field(init=False, default=lambda: None)
    """Told when a client has too many."""
    shutting_down: bool = attrs.field(init=False, default=False)
    _readiness: SingleFlight[bool] = attrs.field(init=False)
    _listings: SingleFlight[Listing] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._readiness, self._listings = SingleFlight(self.reporter.clock), SingleFlight(self.reporter.clock)

    def begin(self, facts: Facts, peer: str | None = None, request_id: str | None = None) -> Exchange:
        """A request has arrived from the host `peer`."""
        return Exchange(self.account(facts), self.client_of(facts, peer), request_id or make_request_id())

    def account(self, facts: Facts) -> AccessRecord:
        """Where requests with these facts are told."""
        return AccessRecord(facts, self.reporter)

    def client_of(self, facts: Facts, peer: str | None) -> str | None:
        """Whose request it is: the host `peer`'s, or that of who is behind it if it is a proxy that is trusted."""
        return None if peer is None else self.policy.proxies.client(peer, facts.forwarded)

    def fail(self, facts: Facts, status: int) -> Reply:
        """The reply to a request that cannot be taken further, in the shape of its plane."""
        return error(facts, self.policy, status, *_retry_after(status))

    async def answer(self, exchange: Exchange) -> Reply:
        """The reply to a request; what it opened belongs to the exchange."""
        facts = exchange.facts
        if facts.route is None:
            return self.fail(facts, 404)
        if facts.method not in facts.route.methods:
            return error(facts, self.policy, 405, ("Allow", facts.route.allow))
        if facts.announces_body:
            return self.fail(facts, 413)
        if facts.method == "OPTIONS":
            return preflight(facts, self.policy)
        try:
            self._take_share(exchange)
            return await self._handler(facts)(exchange)
        except ClientError as failure:
            return self._explain(facts, failure)

    def _take_share(self, exchange: Exchange) -> None:
        if self.client_limiter is None or exchange.facts.plane is Plane.OPERATIONS:
            return
        exchange.give_share_back = self.client_limiter.take(exchange.client)
        if exchange.give_share_back is None:
            self.overdrawn()
            raise OverloadedError("the client has too many requests under way")

    def _handler(self, facts: Facts) -> _Handler:
        plane = facts.plane
        if plane is Plane.DATA:
            return self._bytes.answer
        return self._metadata if plane is Plane.METADATA else self._operations

    def _explain(self, facts: Facts, failure: ClientError) -> Reply:
        if isinstance(failure, CatalogError):
            self.reporter.metrics.store_failed("manifest")
        elif isinstance(failure, BlobUnreadableError):
            self.reporter.metrics.store_failed("open_range" if facts.plane is Plane.DATA else "meta")
        if isinstance(failure, DescriptorsError):
            self.ran_out()
        return self.fail(facts, failure.status)

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
        total = None if self.total is None else await self.total()
        return operations.exposition(facts, self.policy, self.reporter.metrics, total)

    async def _is_ready(self) -> bool:
        try:
            images = self._current_catalog.current.images
        except CatalogError:
            return False
        if self.shutting_down:
            return False
        try:
            return await self._readiness.ask(images, lambda: self._store.complete(images)) and not self.shutting_down
        except DiskHangsError:
            return False

    async def _metadata(self, exchange: Exchange) -> Reply:
        facts = exchange.facts
        if not facts.names.valid:
            return error(facts, self.policy, 400, reason=f"invalid image id: it {NAME_RULE}")
        if facts.names.image_id is None:
            images = self._current_catalog.current.images
            listing = await self._listings.ask(images, lambda: self._list(images))
            return metadata.list_reply(facts, self.policy, listing)
        survey = await self._survey((self._find(facts.names.image_id),))
        if not survey.found:
            return self.fail(facts, 500 if survey.unreadable else 404)
        return metadata.image_reply(facts, self.policy, *survey.found[0])

    def _find(self, image_id: str) -> Image:
        image = self._current_catalog.current.find(image_id)
        if image is None:
            raise BlobNotFoundError(image_id)
        return image

    async def _list(self, images: tuple[Image, ...]) -> Listing:
        survey = await self._survey(images)
        return await self.reporter.disk.run(lambda: metadata.make_listing(survey.found), lane="listing")

    async def _survey(self, images: tuple[Image, ...]) -> Survey:
        survey = await self._store.survey(images)
        for _ in range(survey.unreadable):
            self.reporter.metrics.store_failed("meta")
        return survey

    def answer_now(self, exchange: Exchange, wanted: str | None, memo: Memo) -> Reply | None:
        """The reply to a GET or HEAD for bytes with the `Range` `wanted`, if nothing has to be waited for.

        None otherwise; the exchange then holds a place at the most. `memo` is the same for requests that differ in
        nothing but their range.
        """
        facts = exchange.facts
        try:
            self._take_share(exchange)
            return self._bytes.answer_now(exchange, wanted, memo)
        except ClientError as failure:
            return self._explain(facts, failure)


def _retry_after(status: int) -> Headers:
    return _RETRY_SOON if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) else ()
