"""The desk: takes an exchange, finds what it asks for, and hands back the reply. Knows no web framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import attrs

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Image, chunked_directory
from aero_storage.delivery import metadata, operations
from aero_storage.delivery.access_record import AccessRecord, Reporter
from aero_storage.delivery.admission import Admission
from aero_storage.delivery.client_limits import ClientLimiter
from aero_storage.delivery.decision import Decision, judge
from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.facts import Facts, make_request_id
from aero_storage.delivery.metadata import Listing
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error, preflight
from aero_storage.delivery.representation import (
    Representation,
    chunk_representation,
    image_representation,
    virtual_representation,
)
from aero_storage.delivery.routes import Plane, Resource
from aero_storage.delivery.single_flight import SingleFlight
from aero_storage.delivery.virtual import VirtualChunks
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
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.local.image_store import MANIFEST_NAME, BlobRequest, Opened, Store, Survey


@attrs.define(eq=False)
class Memo:
    """What was found and decided for requests that differ in nothing but their range."""

    mark: object = None
    """Of the catalog in which `image` was found."""
    image: Image | None = None
    target: BlobRequest = BlobRequest()
    status: BlobStatus | None = None
    """Of the file that the verdict was made for; the same object as long as it is the same file."""
    verdict: Decision | None = None


_RETRY_SOON = (("Retry-After", "1"),)


@attrs.define(eq=False)
class RequestHandler:
    """Answers requests from one catalog and one store under one cap."""

    policy: Policy
    build: operations.Build
    metrics_token: str | None = attrs.field(repr=False)
    reporter: Reporter
    _current_catalog: CurrentCatalog
    _store: Store
    _admission: Admission
    _virtual: VirtualChunks
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
        return None if peer is None else self.policy.trusted_proxy.client(peer, facts.forwarded)

    def fail(self, facts: Facts, status: int) -> Reply:
        """The reply to a request that cannot be taken further, in the shape of its plane."""
        return error(facts, self.policy, status, *_retry_after(status))

    async def answer(self, exchange: Exchange, wanted: str | None) -> Reply:
        """The reply to a request with the `Range` `wanted`; what it opened belongs to the exchange."""
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
            return await self._reply(exchange, wanted)
        except ClientError as failure:
            return self._explain(facts, failure)

    def _reply(self, exchange: Exchange, wanted: str | None) -> Awaitable[Reply]:
        plane = exchange.facts.plane
        if plane is Plane.DATA:
            return self._bytes(exchange, wanted)
        return self._metadata(exchange) if plane is Plane.METADATA else self._operations(exchange)

    def _take_share(self, exchange: Exchange) -> None:
        if self.client_limiter is None or exchange.give_share_back or exchange.facts.plane is Plane.OPERATIONS:
            return
        exchange.give_share_back = self.client_limiter.take(exchange.client)
        if exchange.give_share_back is None:
            self.overdrawn()
            raise OverloadedError("the client has too many requests under way")

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
        survey = await self._survey((self._find(facts),))
        if not survey.found:
            return self.fail(facts, 500 if survey.unreadable else 404)
        return metadata.image_reply(facts, self.policy, *survey.found[0])

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
            return self._bytes_now(exchange, wanted, memo) if facts.names.valid else self.fail(facts, 404)
        except ClientError as failure:
            return self._explain(facts, failure)

    async def _bytes(self, exchange: Exchange, wanted: str | None) -> Reply:
        facts = exchange.facts
        if not facts.names.valid:
            return self.fail(facts, 404)
        reply = self._bytes_now(exchange, wanted, Memo())
        if reply is not None:
            return reply
        await exchange.take_place(self._admission)
        image = self._find(facts)
        exchange.blob = opened = await self._store.open(self._wanted(facts, image))
        return judge(facts, self.policy, self._represent(facts, image, opened)).reply(wanted)

    def _bytes_now(self, exchange: Exchange, wanted: str | None, memo: Memo) -> Reply | None:
        if not exchange.take_place_now(self._admission):
            return None
        facts, catalog = exchange.facts, self._current_catalog.current
        if memo.image is None or memo.mark is not catalog.mark:
            image = self._find(facts)
            memo.mark, memo.image, memo.target, memo.status = catalog.mark, image, self._wanted(facts, image), None
        image = memo.image
        exchange.blob = opened = self._store.open_cached(memo.target)
        if opened is None:
            return None
        if memo.status is not opened.status:
            memo.verdict = judge(facts, self.policy, self._represent(facts, image, opened))
            memo.status = opened.status
        return memo.verdict.reply(wanted) if memo.verdict is not None else None

    def _find(self, facts: Facts) -> Image:
        image_id, catalog = facts.names.image_id or "", self._current_catalog.current
        image = catalog.find(image_id)
        if image is not None:
            return image
        if catalog.listing and facts.resource in (Resource.CHUNK, Resource.CHUNK_MANIFEST):
            # http.md §6: the raw file need not exist. If it does, it is one that is not served.
            return Image(id=image_id, file=image_id, name=image_id, virtual_chunks=False)
        raise BlobNotFoundError(image_id)

    def _wanted(self, facts: Facts, image: Image) -> BlobRequest:
        if facts.resource is Resource.IMAGE:
            return BlobRequest(image)
        version = facts.names.version
        directory = image.chunked_directory if version is None else chunked_directory(image.id, version)
        manifest = f"{directory}/{MANIFEST_NAME}"
        artifact = f"{directory}/chunks/{facts.names.chunk_name}" if facts.resource is Resource.CHUNK else manifest
        if self._virtual.may_serve(image, version):
            return BlobRequest(image, artifact, manifest)
        return BlobRequest(artifact=artifact)

    def _represent(self, facts: Facts, image: Image, opened: Opened) -> Representation:
        status = opened.status
        if facts.resource is Resource.IMAGE:
            return image_representation(facts, self.policy, image, status.size, status.validators)
        if opened.raw:
            cut = self._virtual.cut(image, status)
            return virtual_representation(facts, self.policy, image, cut, status.validators)
        return chunk_representation(facts, self.policy, image, status.size, status.validators)


def _retry_after(status: int) -> Headers:
    return _RETRY_SOON if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) else ()
