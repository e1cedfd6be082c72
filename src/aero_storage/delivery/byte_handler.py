"""Answers requests for the bytes of images and chunks, and for chunk manifests. Knows no web framework."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import MANIFEST_NAME, Catalog, Image, chunked_directory
from aero_storage.delivery.access import LeaseAccess, LeaseMemo, is_closed, url_versions
from aero_storage.delivery.admission import Admission
from aero_storage.delivery.boot_profiles import ProfileLinks
from aero_storage.delivery.chunk_versions import ChunkVersions
from aero_storage.delivery.decision import Decision, judge
from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.fast_range import FastRange, fast_range
from aero_storage.delivery.lease_limits import LeaseLimiter
from aero_storage.delivery.missing import LookAnew, open_named
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error
from aero_storage.delivery.representation import (
    Representation,
    VirtualChunks,
    chunk_representation,
    image_links,
    image_representation,
    version_of,
    virtual_representation,
)
from aero_storage.delivery.routes import Resource
from aero_storage.errors import BlobNotFoundError, ObjectChangedError, OtherVersionError, RefusalReason
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.store import BlobRequest, Opened, Store


@attrs.define(eq=False)
class Memo:
    """The image and the decision for requests that differ in nothing but their range."""

    is_kept: bool = False
    """Whether further requests will use it."""
    catalog_mark: object = None
    """Of the catalog in which `image` was found."""
    image: Image | None = None
    """None if there is no such image."""
    access: LeaseAccess | None = None
    """Says who may read it; None where anybody may."""
    lease: LeaseMemo | None = None
    """Its last answer; None where `access` is."""
    request: BlobRequest = BlobRequest()
    status: BlobStatus | None = None
    """Of the file that the decision was made for; the same object as long as it is the same file."""
    sha256: str | None = None
    """The digest that was known of it then: a manifest may be replaced after its chunks."""
    decision: Decision | None = None
    profiles: object = None
    """The mark of the boot profiles that were known then."""
    fast: FastRange | None = None
    """The decision, where a range needs no exchange."""


@attrs.frozen(eq=False)
class ByteHandler:
    """Answers requests of the data plane from one catalog and one store under one cap.

    `now` returns seconds since the epoch.
    """

    _policy: Policy
    _current_catalog: CurrentCatalog
    _store: Store
    _admission: Admission
    _virtual: VirtualChunks
    _now: Callable[[], float] = time.time
    _look_anew: LookAnew | None = attrs.field(kw_only=True, default=None)
    """Looks at the catalog before an object that it names is called missing."""
    _lease_limiter: LeaseLimiter | None = attrs.field(kw_only=True, default=None)
    """Limits the requests of one lease, if anything does."""
    _access: LeaseAccess | None = attrs.field(kw_only=True, default=None)
    """Says who may read private images; None where anybody may."""
    _profiles: ProfileLinks = attrs.field(kw_only=True, factory=ProfileLinks)
    """Knows which images have boot profiles."""
    _chunk_versions: ChunkVersions | None = attrs.field(kw_only=True, default=None)
    """Knows the images of published chunks, for the log; None where nobody reads it."""

    async def answer(self, exchange: Exchange, range_value: str | None) -> Reply:
        """Return the reply to a request for bytes with that `Range`. Raises ClientError."""
        reply = self.answer_now(exchange, range_value, Memo())
        if reply is not None:
            return reply
        await exchange.take_place(self._admission)
        try:
            return await self._begin(exchange, range_value)
        except ObjectChangedError:  # opened anew, once, as nothing has been sent yet (http.md §11)
            exchange.let_go()
            return await self._begin(exchange, range_value)

    async def _begin(self, exchange: Exchange, range_value: str | None) -> Reply:
        """Open, decide, and have the first bytes brought in, so that a failing origin shows before the head."""
        facts = exchange.facts

        def request() -> tuple[Image, BlobRequest]:
            image = self._find(facts, self._current_catalog.current)
            if image is None:
                raise BlobNotFoundError(facts.names.image_id)
            return image, self._request(facts, image)

        try:
            image, opened = await open_named(self._store, self._current_catalog, self._look_anew, request)
        except BlobNotFoundError:
            if self._access is not None:
                await self._judge_missing(exchange, self._access)
            raise
        exchange.blob = opened
        if self._access is not None:
            await self._judge_opened(exchange, self._access, image, opened)
        has_profile = False
        if facts.resource is Resource.IMAGE:
            has_profile = await self._profiles.know(image, opened.status)
        elif self._chunk_versions is not None and not opened.raw:
            await self._chunk_versions.look(facts, image)
        reply = self._judge(facts, image, opened, has_profile=has_profile).reply(range_value)
        if not _begins_now(facts, reply, opened) and reply.segment is not None:
            await opened.begin(reply.segment.offset, reply.segment.length)
        return reply

    async def _judge_opened(self, exchange: Exchange, access: LeaseAccess, image: Image, opened: Opened) -> None:
        """Judge what could not be judged before the image was known that is open. Raises LeaseDeniedError."""
        await access.admit_to(exchange, image)
        if exchange.hearing is not None and not self._settle(exchange, image, opened):
            await self._settle_by_image(exchange, access, image)
        self._take_lease_share(exchange)

    async def _judge_missing(self, exchange: Exchange, access: LeaseAccess) -> None:
        """Refuse a request that may not know what is missing: the lease comes before existence (http.md §12).

        Raises LeaseDeniedError.
        """
        await access.admit(exchange)
        image = self._find(exchange.facts, self._current_catalog.current)
        if image is not None and exchange.hearing is not None and exchange.facts.resource is not Resource.IMAGE:
            await self._settle_by_image(exchange, access, image)

    def answer_now(self, exchange: Exchange, range_value: str | None, memo: Memo) -> Reply | None:
        """Return the same, if nothing has to be waited for; see RequestHandler.answer_now."""
        facts, catalog = exchange.facts, self._current_catalog.current
        if not facts.names.valid:
            return error(facts, self._policy, 404, reason=RefusalReason.ID)
        if memo.catalog_mark is not catalog.mark:
            self._find_anew(facts, catalog, memo)
        image = memo.image
        access, lease = memo.access, memo.lease
        if access is not None and lease is not None and not access.admit_now(exchange, image, lease):
            return None
        if self._lease_limiter is not None:
            exchange.take_lease_share(self._lease_limiter)
        if not exchange.take_place_now(self._admission):
            return None
        if image is None:
            raise BlobNotFoundError(facts.names.image_id)
        exchange.blob = opened = self._store.open_cached(memo.request)
        if opened is None:
            return None
        decision = self._decide_now(exchange, image, opened, memo)
        reply = None if decision is None else decision.reply(range_value)
        if reply is None or not _begins_now(facts, reply, opened):
            exchange.let_go()
            return None
        return reply

    def _decide_now(self, exchange: Exchange, image: Image, opened: Opened, memo: Memo) -> Decision | None:
        if exchange.hearing is not None and not self._settle(exchange, image, opened):
            return None
        decision, profiles, status, sha256 = memo.decision, self._profiles, opened.status, opened.sha256
        profiles.asked = True
        is_known = memo.status is status and memo.sha256 == sha256 and memo.profiles is profiles.mark
        if decision is not None and is_known and decision.holds_at(self._now()):
            if memo.fast is not None and memo.fast.file is not opened.remembered:  # it was closed, and is open again
                memo.fast = self._fast_range(decision, opened)
            return decision
        has_profile = profiles.has_boot(image, status) if exchange.facts.resource is Resource.IMAGE else False
        if has_profile is None:
            return None
        try:
            memo.decision = decision = self._judge(exchange.facts, image, opened, has_profile=has_profile)
        except OtherVersionError:  # the memory may be old, and another worker may have told of the new one
            return None
        memo.status, memo.sha256, memo.profiles = status, sha256, profiles.mark
        memo.fast = self._fast_range(decision, opened) if memo.is_kept and memo.access is None else None
        return decision

    def _fast_range(self, decision: Decision, opened: Opened) -> FastRange | None:
        return fast_range(decision, opened, self._current_catalog, self._profiles, self._admission)

    def _take_lease_share(self, exchange: Exchange) -> None:
        if self._lease_limiter is not None:
            exchange.take_lease_share(self._lease_limiter)

    def _judge(self, facts: Facts, image: Image, opened: Opened, *, has_profile: bool) -> Decision:
        shown = self._represent(facts, image, opened, has_profile=has_profile)
        return judge(facts, self._policy, shown, self._now())

    def _find_anew(self, facts: Facts, catalog: Catalog, memo: Memo) -> None:
        image = self._find(facts, catalog)
        memo.catalog_mark, memo.image, memo.status, memo.fast = catalog.mark, image, None, None
        if self._access is not None and is_closed(catalog, image):
            memo.access, memo.lease = self._access, LeaseMemo()
        else:
            memo.access = memo.lease = None
        if image is not None:
            memo.request = self._request(facts, image)

    def _settle(self, exchange: Exchange, image: Image, opened: Opened) -> bool:
        """Judge a lease for one version; False if the image has to be opened for it. Raises LeaseDeniedError."""
        lease, named = exchange.lease, url_versions(exchange.facts, image)
        if self._access is None or lease is None or lease.claims.version in named:
            return True
        if exchange.facts.resource is not Resource.IMAGE and not opened.raw:
            return False
        version = version_of(image, opened.status)
        self._access.settle(exchange, named if version is None else (*named, version))
        self._take_lease_share(exchange)
        return True

    async def _settle_by_image(self, exchange: Exchange, access: LeaseAccess, image: Image) -> None:
        """Do that for a published chunk: a lease for the version of its image opens it too (http.md §12)."""
        versions = set(url_versions(exchange.facts, image))
        try:
            raw = await self._store.open(BlobRequest(image))
        except BlobNotFoundError:  # an image of chunks alone
            access.settle(exchange, versions)
            return
        try:
            version = version_of(image, raw.status)
        finally:
            raw.close()
        access.settle(exchange, versions if version is None else versions | {version})

    def _find(self, facts: Facts, catalog: Catalog) -> Image | None:
        image_id = facts.names.image_id or ""
        image = catalog.find(image_id)
        if image is not None:
            return image
        if catalog.listing and facts.resource in (Resource.CHUNK, Resource.CHUNK_MANIFEST):
            # http.md §6: the raw file need not exist. If it does, it is one that is not served.
            return Image(id=image_id, file=image_id, name=image_id, virtual_chunks=False)
        return None

    def _request(self, facts: Facts, image: Image) -> BlobRequest:
        if facts.resource is Resource.IMAGE:
            return BlobRequest(image)
        version = facts.names.version
        directory = image.chunked_directory if version is None else chunked_directory(image.id, version)
        manifest = f"{directory}/{MANIFEST_NAME}"
        artifact = f"{directory}/chunks/{facts.names.chunk_name}" if facts.resource is Resource.CHUNK else manifest
        if self._virtual.may_serve(image, version):
            return BlobRequest(image, artifact, manifest)
        return BlobRequest(artifact=artifact)

    def _represent(self, facts: Facts, image: Image, opened: Opened, *, has_profile: bool) -> Representation:
        status = opened.status
        if facts.resource is Resource.IMAGE:
            whole = image_representation(facts, self._policy, image, status)
            return attrs.evolve(whole, links=image_links(image.id, profile=True)) if has_profile else whole
        if opened.raw:
            cut = self._virtual.cut(image, status)
            return virtual_representation(facts, self._policy, image, cut, status)
        chunk = chunk_representation(facts, self._policy, image, status.size, status.validators, opened.sha256)
        version = None if self._chunk_versions is None else self._chunk_versions.recall(facts, image)
        return chunk if version is None else attrs.evolve(chunk, version=version)


def _begins_now(facts: Facts, reply: Reply, opened: Opened) -> bool:
    """Whether the head may go out, as the bytes behind it are there or will be."""
    segment = reply.segment
    if segment is None or not segment.length or facts.method == "HEAD":
        return True
    return opened.begins_now(segment.offset, segment.length)
