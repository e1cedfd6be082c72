"""The client for browsers, served from memory (http.md §17). Knows no web framework."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error, precondition_reply, response_headers, validator_headers
from aero_storage.errors import RefusalReason
from aero_storage.http import caching
from aero_storage.http.conditional import Validators
from aero_storage.http.cors import CorsPolicy

_TAG_DIGITS = 32
_JAVASCRIPT = ("Content-Type", "text/javascript; charset=utf-8")
_FOR_ANY_PAGE = (("Cross-Origin-Resource-Policy", "cross-origin"), ("X-Content-Type-Options", "nosniff"))


@attrs.frozen
class ClientPart:
    """A file of the client, and its tag."""

    body: bytes = attrs.field(repr=False)
    etag: str

    @classmethod
    def of(cls, body: bytes) -> ClientPart:
        """Make a part whose tag tells other bodies from this one."""
        return cls(body, f'"{hashlib.sha256(body).hexdigest()[:_TAG_DIGITS]}"')


@attrs.frozen
class ClientModule:
    """The files of the client by their names."""

    parts: Mapping[str, ClientPart]

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> ClientModule:
        """Make the module of these files."""
        return cls({name: ClientPart.of(body) for name, body in files.items()})

    def answer(self, facts: Facts, policy: Policy) -> Reply:
        """Return a file, which any origin may load: it is the same for all, and no secret."""
        part = self.parts.get(facts.names.part or "")
        if part is None:
            return error(facts, policy, 404, reason=RefusalReason.ROUTE)
        open_policy = attrs.evolve(policy, cors=CorsPolicy((), policy.cors.cors_preflight_max_age_secs))
        validators = Validators(part.etag, None)
        kept = ("Cache-Control", caching.REVALIDATE)
        headers = (kept, *validator_headers(validators), _JAVASCRIPT, *_FOR_ANY_PAGE)
        unmet = precondition_reply(facts, open_policy, validators, headers)
        return unmet or Reply(200, response_headers(facts, open_policy, headers), part.body)
