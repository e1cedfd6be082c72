"""Parts that the daemon serves to browsers beside images: client, page, and the page's emulator (http.md §17)."""

from __future__ import annotations

import attrs

from aero_storage.delivery.client_module import ClientModule
from aero_storage.delivery.emulator_parts import EmulatorParts
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.page import Page
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error
from aero_storage.delivery.routes import Resource
from aero_storage.errors import RefusalReason


@attrs.frozen
class PackageParts:
    """The files of the package: the same for all callers, and no secret."""

    client: ClientModule = attrs.field(factory=lambda: ClientModule({}))
    page: Page = attrs.field(factory=Page)
    emulator: EmulatorParts | None = None
    """The files that are no part of the package; None where no directory may have them."""

    async def answer(self, facts: Facts, policy: Policy) -> Reply:
        """Return the file that a request asks for, or a 404. Raises DiskHangsError."""
        wanted = self.client if facts.resource is Resource.CLIENT else self.page
        reply = wanted.answer(facts, policy)
        if reply is None and facts.resource is Resource.PAGE_PART and self.emulator is not None:
            reply = await self.emulator.answer(facts, policy)
        return reply or error(facts, policy, 404, reason=RefusalReason.ROUTE)
