"""The identity of a cached file: one object in one version, cut into blocks of one size."""

from __future__ import annotations

import hashlib

import attrs

_FORMAT = "aero-storage block cache 1"


@attrs.frozen(cache_hash=True)
class ObjectIdentity:
    """One version of one object; another version, or another place, is another identity."""

    endpoint: str
    bucket: str
    key: str
    tag: str
    """Its ETag, as received."""
    version: str | None = None
    """Its version id, where the store has one."""

    def digest(self, size: int, block_bytes: int) -> bytes:
        """Return 32 bytes that are of this identity, size and size of blocks alone: SHA-256."""
        hashed = hashlib.sha256()
        version = "-" if self.version is None else f"+{self.version}"
        fields = (_FORMAT, self.endpoint, self.bucket, self.key, self.tag, version, str(size), str(block_bytes))
        for text in fields:
            data = text.encode("utf-8", "surrogatepass")
            hashed.update(b"%d:" % len(data) + data)
        return hashed.digest()
