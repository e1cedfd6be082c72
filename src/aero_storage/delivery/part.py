"""A file of the package, served from memory: as it is, and compressed (http.md §17). Knows no web framework."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import PurePosixPath

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, precondition_reply, response_headers, validator_headers
from aero_storage.http.conditional import Validators
from aero_storage.http.content_codings import GZIP, VARY_BY_CODING
from aero_storage.http.cors import Headers

_TAG_DIGITS = 32
_OTHER_TYPE = "application/octet-stream"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
}
_COMPRESSED_BEFORE = frozenset({".png"})
_NOSNIFF = ("X-Content-Type-Options", "nosniff")


@attrs.frozen
class Representation:
    """The bytes of a part in one content coding, and their tag."""

    body: bytes = attrs.field(repr=False)
    etag: str


@attrs.frozen
class Part:
    """A file of the package."""

    content_type: str
    plain: Representation
    compressed: Representation | None = None
    """By gzip; None where that saves nothing."""

    @classmethod
    def of(cls, name: str, body: bytes) -> Part:
        """Make a part, whose tag tells other bodies from this one; compressing all of 200 KB takes 20 ms."""
        suffix, digest = PurePosixPath(name).suffix, hashlib.sha256(body).hexdigest()[:_TAG_DIGITS]
        plain = Representation(body, f'"{digest}"')
        content_type = _TYPES.get(suffix, _OTHER_TYPE)
        packed = body if suffix in _COMPRESSED_BEFORE else gzip.compress(body, mtime=0)
        if len(packed) >= len(body):
            return cls(content_type, plain)
        return cls(content_type, plain, Representation(packed, f'"{digest}-{GZIP}"'))

    def answer(self, facts: Facts, policy: Policy, kept: str, more: Headers = ()) -> Reply:
        """Return the file in the coding that the request accepts; `kept` is its `Cache-Control`."""
        chosen = self.compressed if self.compressed is not None and facts.accepts_gzip else self.plain
        validators = Validators(chosen.etag, None)
        coding = () if chosen is self.plain else (("Content-Encoding", GZIP),)
        headers: Headers = (
            ("Cache-Control", kept),
            *validator_headers(validators),
            ("Content-Type", self.content_type),
            *coding,
            *(() if self.compressed is None else (VARY_BY_CODING,)),
            _NOSNIFF,
            *more,
        )
        unmet = precondition_reply(facts, policy, validators, headers)
        return unmet or Reply(200, response_headers(facts, policy, headers), chosen.body)
