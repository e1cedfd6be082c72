"""The client for browsers (http.md §17). Knows no web framework."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.part import Part
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply
from aero_storage.http import caching
from aero_storage.http.cors import CorsPolicy, Headers

_FOR_ANY_PAGE: Headers = (
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    # A worker of an isolated page has to be isolated itself (WHATWG HTML §10.2.4).
    ("Cross-Origin-Embedder-Policy", "require-corp"),
)


@attrs.frozen
class ClientModule:
    """The files of the client by their names."""

    parts: Mapping[str, Part]

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> ClientModule:
        """Make the module of these files."""
        return cls({name: Part.of(name, body) for name, body in files.items()})

    def answer(self, facts: Facts, policy: Policy) -> Reply | None:
        """Return a file, which any origin may load; None if there is none of that name."""
        part = self.parts.get(facts.names.part or "")
        if part is None:
            return None
        open_policy = attrs.evolve(policy, cors=CorsPolicy((), policy.cors.cors_preflight_max_age_secs))
        return part.answer(facts, open_policy, caching.REVALIDATE, _FOR_ANY_PAGE)
