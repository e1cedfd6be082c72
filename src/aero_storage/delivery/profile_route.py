"""Answers requests for the profiles of images (http.md §15). Knows no web framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from aero_storage.catalog.model import Image
from aero_storage.delivery.access import LeaseAccess
from aero_storage.delivery.boot_profiles import ProfileLinks, profile_key
from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.metadata import profile_reply
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error
from aero_storage.delivery.representation import version_of
from aero_storage.errors import BlobNotFoundError, OtherVersionError, RefusalReason
from aero_storage.http.identifiers import NAME_RULE, is_image_id
from aero_storage.http.queries import first_value
from aero_storage.profiles.document import BOOT
from aero_storage.storage.store import Opened

Open = Callable[[str, bool], Awaitable[tuple[Image, Opened]]]
"""Opens the image of an id; with True not from memory. Raises ClientErrors."""


@attrs.frozen
class ProfileRoute:
    """Answers from the stored profiles."""

    _policy: Policy
    _open: Open
    _profiles: ProfileLinks
    _access: LeaseAccess | None

    async def answer(self, exchange: Exchange) -> Reply:
        """Return the reply to a request whose names are valid. Raises ClientError."""
        facts = exchange.facts
        image = await self._opened(exchange)
        assert exchange.blob is not None  # noqa: S101 - just opened
        name = first_value(facts.query, "name")
        if name is not None and not is_image_id(name):
            text = f"invalid name: it {NAME_RULE}"
            return error(facts, self._policy, 400, reason=RefusalReason.TARGET, text=text)
        key = profile_key(image, exchange.blob.status, BOOT if name is None else name)
        body = None if key is None else await self._profiles.find(key)
        if key is None or body is None:
            raise BlobNotFoundError(f"{image.id}: no such profile")
        reply = profile_reply(facts, self._policy, image, body)
        return reply if reply.refused is not None else attrs.evolve(reply, version=key.version)

    async def _opened(self, exchange: Exchange) -> Image:
        """Open the image, which the exchange owns then; one that is remembered may be of an older version."""
        image_id, wanted = exchange.facts.names.image_id or "", exchange.facts.names.version
        image, exchange.blob = await self._open(image_id, False)  # noqa: FBT003 - of Open
        version = version_of(image, exchange.blob.status)
        if wanted not in (None, version):
            exchange.let_go()
            image, exchange.blob = await self._open(image_id, True)  # noqa: FBT003 - likewise
            version = version_of(image, exchange.blob.status)
        if self._access is not None:  # before it is told that there is no such version
            await self._access.admit_to(exchange, image)
            self._access.settle(exchange, () if version is None else (version,))
        if wanted not in (None, version):
            raise OtherVersionError(f"{image_id}: not of that version")
        return image
