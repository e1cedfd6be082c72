"""The page for browsers (http.md §17): one document at `/`, its parts below `/ui/`. Knows no web framework."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.part import Part
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.routes import Resource
from aero_storage.http import caching
from aero_storage.http.cors import Headers

DOCUMENT = "index.html"
"""The file that is served at `/`."""

_DIGEST_DIGITS = 16
_WITH_REFERENCES = frozenset({".css", ".html", ".js", ".mjs", ".svg"})
_REFERENCE = re.compile(rb"(?<=[\"'(])\./([a-z0-9.-]+)(?=[\"')])")

_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ISOLATED: Headers = (
    ("Content-Security-Policy", _CONTENT_SECURITY_POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)
"""On the parts as well: a worker obeys the policies of its own script."""


@attrs.frozen
class Page:
    """The document, and its parts by their addressed names."""

    document: Part | None = None
    parts: Mapping[str, Part] = attrs.field(factory=dict)

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> Page:
        """Make the page of these files. They refer to each other by `./name`, which gets the digest of all."""
        digest = _digest_of(files)
        parts = {name: Part.of(name, _addressed(name, body, files.keys(), digest)) for name, body in files.items()}
        document = parts.pop(DOCUMENT, None)
        return cls(document, {f"{digest}-{name}": part for name, part in parts.items()})

    def answer(self, facts: Facts, policy: Policy) -> Reply | None:
        """Return the document, or the part that is asked for; None if there is none of that name."""
        if facts.resource is Resource.PAGE:
            part, kept = self.document, caching.REVALIDATE
        else:
            part, kept = self.parts.get(facts.names.part or ""), caching.PUBLIC_FOR_GOOD
        return None if part is None else part.answer(facts, policy, kept, _ISOLATED)


def _digest_of(files: Mapping[str, bytes]) -> str:
    """Return a digest of all files: another part has another address, and so has whatever refers to it."""
    every = hashlib.sha256()
    for name, body in sorted(files.items()):
        every.update(f"{name}\0{len(body)}\0".encode() + body)
    return every.hexdigest()[:_DIGEST_DIGITS]


def _addressed(name: str, body: bytes, names: Collection[str], digest: str) -> bytes:
    """Return a file whose references to others lead to where they are served."""
    if PurePosixPath(name).suffix not in _WITH_REFERENCES:
        return body

    def address(found: re.Match[bytes]) -> bytes:
        referred = found[1].decode("ascii")
        return f"/ui/{digest}-{referred}".encode() if referred in names else found[0]

    return _REFERENCE.sub(address, body)
