"""The list of images: made once for many clients, and for holders of leases with private images in their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.catalog.model import Image
from aero_storage.delivery.access import LeaseAccess
from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.metadata import HiddenEntry, Listing, make_listing, with_hidden
from aero_storage.delivery.single_flight import SingleFlight
from aero_storage.disk import Disk
from aero_storage.http.leases.judgement import opens_version
from aero_storage.http.leases.verification import Lease
from aero_storage.metrics import Metrics
from aero_storage.storage.store import Store, Survey


@attrs.define(eq=False)
class ImageList:
    """Makes the list, and remembers the last one; `access` is None where leases are off."""

    _store: Store
    _disk: Disk
    _metrics: Metrics
    _clock: IReactorTime
    _access: LeaseAccess | None
    _fresh_seconds: float
    """For how long a check of all images is used: 0 for a store that remembers them itself."""
    _flight: SingleFlight[Listing] = attrs.field(init=False)
    _listing: Listing | None = attrs.field(init=False, default=None)
    """The one that was made last."""
    _listed: Survey | None = attrs.field(init=False, default=None)
    """The survey that it was made of."""

    def __attrs_post_init__(self) -> None:
        self._flight = SingleFlight(self._clock, self._fresh_seconds)

    async def listing(self, exchange: Exchange, current_images: Callable[[], tuple[Image, ...]]) -> Listing:
        """Return the list for a request. Raises CatalogError, LeaseLimitError, and what the store raises.

        The images are asked for when the leases are known: one may have become private while they were verified.
        """
        leases = [] if self._access is None else await self._access.leases_for_list(exchange)
        images = current_images()
        listing = await self._flight.ask(images, lambda: self._make(images))
        shown: dict[str, HiddenEntry] = {}
        used: list[Lease] = []
        for lease in leases:
            opened = dict(_shown_by(lease, listing))
            shown |= opened
            used += [lease] if opened else []
        if not shown:
            return listing
        exchange.lease = min(used, key=lambda one: one.claims.expires_at)
        return await self._disk.run(lambda: with_hidden(listing, shown.values()), lane="listing")

    async def _make(self, images: tuple[Image, ...]) -> Listing:
        survey = await self._survey(images)
        if self._listing is not None and self._listed is survey:
            return self._listing
        hides = self._access is not None
        listing = await self._disk.run(lambda: make_listing(survey.found, hides_private=hides), lane="listing")
        # An equal list is the same object, of which many clients share the one copy while they read.
        if self._listing != listing:
            self._listing = listing
        self._listed = survey
        return self._listing or listing

    async def _survey(self, images: tuple[Image, ...]) -> Survey:
        survey = await self._store.survey(images)
        for _ in range(survey.unreadable):
            self._metrics.store_failed("meta")
        return survey


def _shown_by(lease: Lease, listing: Listing) -> Iterator[tuple[str, HiddenEntry]]:
    """Yield the private images that a lease shows."""
    for image_id in lease.claims.images:
        entry = listing.hidden.get(image_id)
        if entry is None or image_id in lease.revoked_images:
            continue
        if opens_version(lease.claims, () if entry.version is None else (entry.version,)):
            yield image_id, entry
