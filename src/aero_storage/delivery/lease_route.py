"""The lease route: whether what a request presents is good for an image, for proxies that ask (http.md §12)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Image
from aero_storage.delivery.access import LeaseAccess
from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.lease_cookie import lease_cookie
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error, response_headers
from aero_storage.delivery.representation import version_of
from aero_storage.errors import BlobNotFoundError, RefusalReason
from aero_storage.http import caching
from aero_storage.http.caching import Caching
from aero_storage.http.cors import Headers
from aero_storage.http.leases.results import LeaseResult
from aero_storage.http.queries import first_value
from aero_storage.storage.store import Opened

OpenImage = Callable[[str], Awaitable[tuple[Image, Opened]]]
"""Opens the file of an image. Raises BlobNotFoundError, and what the store raises."""


@attrs.frozen(eq=False)
class LeaseRoute:
    """Answers requests that were admitted; `access` is None while leases are off, `now` is the wall clock."""

    _policy: Policy
    _current_catalog: CurrentCatalog
    _access: LeaseAccess | None
    _open: OpenImage
    _now: Callable[[], float]

    async def answer(self, exchange: Exchange) -> Reply:
        """Return the 204. Raises LeaseDeniedError, and BlobNotFoundError in a directory listing."""
        facts, catalog = exchange.facts, self._current_catalog.current
        if not facts.names.valid:
            return error(facts, self._policy, 404, reason=RefusalReason.ID)
        image_id = facts.names.image_id or ""
        image = catalog.find(image_id)
        if image is None and catalog.listing:
            raise BlobNotFoundError(image_id)
        if self._access is not None and exchange.verdict is not None:
            if image is None:
                self._access.refuse(exchange, LeaseResult.WRONG_IMAGE)
            await self._settle(exchange, self._access, image_id)
        kept = Caching(caching.NO_STORE, by_credentials=self._policy.leases)
        return Reply(204, response_headers(facts, self._policy, (*kept.headers, *self._cookie(exchange))))

    async def _settle(self, exchange: Exchange, access: LeaseAccess, image_id: str) -> None:
        """Judge a lease for one version by the image that there is now, if no version was asked for."""
        if exchange.hearing is None:
            return
        try:
            image, exchange.blob = await self._open(image_id)
        except BlobNotFoundError:
            access.refuse(exchange, LeaseResult.WRONG_VERSION)
            return
        version = version_of(image, exchange.blob.status)
        access.settle(exchange, () if version is None else (version,))

    def _cookie(self, exchange: Exchange) -> Headers:
        facts, verdict = exchange.facts, exchange.verdict
        if facts.method != "GET" or verdict is None or first_value(facts.query, "cookie") != "1":
            return ()
        peer = exchange.peer
        is_trusted = peer is not None and self._policy.trusted_proxy.is_trusted(peer)
        return lease_cookie(
            facts, self._policy.cors, verdict, self._now(), is_secure=exchange.is_secure, is_trusted=is_trusted
        )
