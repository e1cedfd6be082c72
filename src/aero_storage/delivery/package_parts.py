"""The parts of the package that the daemon serves: the client for browsers, and the page (http.md §17)."""

from __future__ import annotations

import attrs

from aero_storage.delivery.client_module import ClientModule
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

    def answer(self, facts: Facts, policy: Policy) -> Reply:
        """Return the file that a request asks for, or a 404."""
        wanted = self.client if facts.resource is Resource.CLIENT else self.page
        return wanted.answer(facts, policy) or error(facts, policy, 404, reason=RefusalReason.ROUTE)
