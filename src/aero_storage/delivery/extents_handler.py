"""Answers requests for the extents of images (http.md §14). Knows no web framework.

A map is made once for a version, one at a time, and so is each answer that is made of it. Both are remembered: the
body of 65,536 extents has some 300 KB, and many clients share one copy while they read.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NoReturn

import attrs
from twisted.internet.defer import Deferred

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Image
from aero_storage.delivery.access import LeaseAccess
from aero_storage.delivery.access_record import Reporter
from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.made_once import MadeOnce
from aero_storage.delivery.metadata import extents_reply
from aero_storage.delivery.missing import LookAnew, open_named
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error
from aero_storage.delivery.representation import image_validators, version_of
from aero_storage.errors import (
    BlobNotFoundError,
    ClientError,
    ExtentsLateError,
    ImageChangedError,
    ObjectChangedError,
    OtherVersionError,
    RefusalReason,
)
from aero_storage.http.extents.documents import Body, Subject, make_body
from aero_storage.http.extents.extents import Extents, KnownExtents, everything
from aero_storage.http.extents.query import UNIT_RULE, QueryError, is_usual_unit, may_be_unit, parse_part
from aero_storage.http.extents.selection import Part, select
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.store import BlobRequest, Opened, Store

WAIT_SECONDS = 5.0
"""Time that a request waits for a map."""

UNKNOWN_SECONDS = 60.0
"""Time for which nothing is known of an object once no map of it was found: one may be stored yet."""

MOST_EXTENTS_KEPT = 1_048_576
"""Extents of all maps that are remembered, of 16 bytes each."""

MOST_BODY_BYTES = 16 * 1024 * 1024
"""Limit of the answers that are remembered."""

_LANE = "extents"
_LEAST_EXTENTS, _LEAST_BYTES = 64, 1024
"""Weight of a map without extents, and what an answer weighs beyond its bytes."""

_Key = tuple[Image, BlobStatus]


def _weight(known: KnownExtents) -> int:
    return _LEAST_EXTENTS + (0 if known.extents is None else known.extents.number)


def _body_weight(body: Body) -> int:
    return _LEAST_BYTES + len(body.data)


def _lasts(known: KnownExtents) -> float:
    return UNKNOWN_SECONDS if known.extents is None else math.inf


@attrs.define(eq=False)
class ExtentsHandler:
    """Answers from one catalog and one store; `late` is the error of a request that has waited too long."""

    _policy: Policy
    _current_catalog: CurrentCatalog
    _store: Store
    _reporter: Reporter
    _late: type[ClientError] = ExtentsLateError
    _look_anew: LookAnew | None = attrs.field(kw_only=True, default=None)
    """Looks at the catalog before an object that it names is called missing."""
    _access: LeaseAccess | None = attrs.field(kw_only=True, default=None)
    """Says who may read private images; None where anybody may."""
    _maps: MadeOnce[_Key, KnownExtents] = attrs.field(init=False)
    _bodies: MadeOnce[tuple[Image, BlobStatus, Part, bool], Body] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        clock = self._reporter.clock
        self._maps = MadeOnce(clock, self._late, MOST_EXTENTS_KEPT, _weight, _lasts)
        self._bodies = MadeOnce(clock, self._late, MOST_BODY_BYTES, _body_weight)

    async def answer(self, exchange: Exchange) -> Reply:
        """Return the reply to a request whose names are valid. Raises ClientError."""
        try:
            return await self._answer(exchange)
        except (ImageChangedError, ObjectChangedError):  # opened anew, once
            exchange.let_go()
            return await self._answer(exchange, anew=True)

    async def _answer(self, exchange: Exchange, *, anew: bool = False) -> Reply:
        facts, policy = exchange.facts, self._policy
        image = await self._open(exchange, anew=anew)
        assert exchange.blob is not None  # noqa: S101 - just opened
        try:
            part = self._part(facts, image)
        except QueryError as fault:
            return error(facts, policy, 400, reason=RefusalReason.TARGET, text=str(fault))
        body = await self._in_time(Deferred.fromCoroutine(self._body(image, exchange.blob.status, part)))
        if body is None:
            return error(facts, policy, 400, reason=RefusalReason.TARGET, text=UNIT_RULE)
        return extents_reply(facts, policy, image, body)

    # The image

    async def _open(self, exchange: Exchange, *, anew: bool) -> Image:
        """Open the image; the exchange owns it then. One that is remembered may be of an older version."""
        facts = exchange.facts

        def request() -> tuple[Image, BlobRequest]:
            image = self._current_catalog.current.find(facts.names.image_id or "")
            if image is None:
                raise BlobNotFoundError("no such image")
            return image, BlobRequest(image)

        image, wanted = request()
        exchange.blob = None if anew else self._store.open_cached(wanted)
        if exchange.blob is not None and not _is_wanted(facts, image, exchange.blob):
            exchange.let_go()
        if exchange.blob is None:
            image, exchange.blob = await open_named(self._store, self._current_catalog, self._look_anew, request)
        if self._access is not None:  # before it is told that there is no such version
            await self._judge_opened(exchange, self._access, image, exchange.blob)
        if not _is_wanted(facts, image, exchange.blob):
            raise OtherVersionError(f"{image.id}: not of that version")
        return image

    @staticmethod
    async def _judge_opened(exchange: Exchange, access: LeaseAccess, image: Image, opened: Opened) -> None:
        await access.admit_to(exchange, image)
        version = version_of(image, opened.status)
        access.settle(exchange, () if version is None else (version,))

    # The answer

    def _part(self, facts: Facts, image: Image) -> Part:
        """Return the part that is asked for. Raises QueryError, unless its unit may be that of published chunks."""
        part = parse_part(facts.query)
        if not may_be_unit(part.unit) and part.unit not in self._chunk_sizes(image):
            raise QueryError(UNIT_RULE)
        return part

    def _in_time(self, making: Deferred[Body | None]) -> Deferred[Body | None]:
        return making.addTimeout(WAIT_SECONDS, self._reporter.clock, onTimeoutCancel=self._raise_late)

    def _raise_late(self, *_told: object) -> NoReturn:
        raise self._late("the extents are not known yet")

    async def _body(self, image: Image, status: BlobStatus, part: Part) -> Body | None:
        """Return the answer; None if the unit is none of this image."""
        known = await self._maps.ask((image, status), partial(self._look, image, status))
        if not is_usual_unit(part.unit) and part.unit not in {known.chunk_size, *self._chunk_sizes(image)}:
            return None
        extents = everything(status.size) if known.extents is None else known.extents
        make = partial(_make, image, status, extents, part)
        key = image, status, part, known.extents is None
        return await self._bodies.ask(key, lambda: self._reporter.disk.run(make, lane=_LANE))

    async def _look(self, image: Image, status: BlobStatus) -> KnownExtents:
        try:
            known = await self._store.extents(image, status)
        except Exception:
            self._reporter.metrics.extents_looked_for("failed")
            raise
        self._reporter.metrics.extents_looked_for("unknown" if known.extents is None else "made")
        return known

    def _chunk_sizes(self, image: Image) -> set[int | None]:
        """Return the chunk sizes that are known without a look at published chunks."""
        sizes = {image.recommended_chunk_size_bytes}
        if image.has_virtual_chunks(by_setting=self._policy.virtual_chunks):
            sizes.add(image.virtual_chunk_size(self._policy.virtual_chunk_bytes))
        return sizes


def _is_wanted(facts: Facts, image: Image, opened: Opened) -> bool:
    wanted = facts.names.version
    return wanted is None or wanted == version_of(image, opened.status)


def _make(image: Image, status: BlobStatus, extents: Extents, part: Part) -> Body:
    etag = image_validators(image, status).etag
    subject = Subject(image.id, version_of(image, status), etag, status.size)
    return make_body(subject, select(extents, part))
