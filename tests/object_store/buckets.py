"""Buckets in memory: versions of objects, uploads in parts, and the conditions of S3."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from bisect import bisect_left, bisect_right
from typing import cast

import attrs


@attrs.frozen
class Version:
    """One version of an object; `tag` with its quotes."""

    data: bytes = attrs.field(repr=False)
    tag: str
    version: str | None
    modified: float


@attrs.frozen
class Quirks:
    """How stores differ."""

    versioned: bool = False
    keys_of_a_page: int = 1000
    opaque_tags: bool = False
    """Tags are no MD5, as with encryption by keys of the store."""
    if_match_unquoted: bool = False
    """A PUT with If-Match takes a tag without its quotes alone, as Ceph does."""
    upload_has_no_tag: bool = False
    """The answer to the end of an upload tells no tag, as a client reads that of Ceph."""
    conditional_put: str = "obeyed"
    """`obeyed`, `ignored` or `refused` (501)."""
    accepted_key: str | None = None
    """The id of the access key that requests have to be signed with; None takes any, and none."""
    bytes_per_second: float | None = None
    """The most that one body is sent with."""


@attrs.frozen
class Page:
    """A page of a listing; `following` is where the next one starts."""

    keys: tuple[tuple[str, Version], ...]
    prefixes: tuple[str, ...]
    following: str | None


@attrs.define(eq=False)
class Bucket:
    """Objects by key. Every method may be called in any thread."""

    quirks: Quirks = Quirks()
    uploads: dict[str, tuple[str, dict[int, bytes]]] = attrs.field(factory=dict)
    """Unfinished uploads: key and parts, by id."""
    _versions: dict[str, list[Version]] = attrs.field(factory=dict)
    _sorted: list[str] | None = attrs.field(init=False, default=None)
    """What `keys` returned last, until something changes."""
    _lock: threading.RLock = attrs.field(factory=threading.RLock)
    _numbers: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1))

    def put(self, key: str, data: bytes, tag: str | None = None, *, modified: float | None = None) -> Version:
        """Store an object; `modified` in seconds since the epoch, None for now."""
        with self._lock:
            number = next(self._numbers)
            plain = f"opaque-{number}" if self.quirks.opaque_tags else md5(data)
            version = f"v{number}" if self.quirks.versioned else None
            new = Version(bytes(data), tag or f'"{plain}"', version, time.time() if modified is None else modified)
            older = self._versions.get(key, []) if self.quirks.versioned else []
            self._versions[key] = [*older, new]
            self._sorted = None
            return new

    def put_mapped(self, key: str, data: memoryview, tag: str, modified: float) -> Version:
        """Store what is not copied: an object that is larger than memory."""
        with self._lock:
            new = Version(cast("bytes", data), tag, None, modified)
            self._versions[key], self._sorted = [new], None
            return new

    def get(self, key: str, version: str | None = None) -> Version | None:
        with self._lock:
            versions = self._versions.get(key, [])
            if version is not None:
                return next((one for one in versions if one.version == version), None)
            return versions[-1] if versions and versions[-1].tag else None

    def delete(self, key: str) -> None:
        with self._lock:
            versions, self._sorted = self._versions.pop(key, []), None
            if self.quirks.versioned and versions:
                marker = Version(b"", "", f"v{next(self._numbers)}", time.time())
                self._versions[key] = [*versions, marker]

    def keys(self) -> list[str]:
        with self._lock:
            if self._sorted is None:
                self._sorted = sorted((key for key in self._versions if self.get(key)), key=str.encode)
            return self._sorted

    def age(self, prefix: str, seconds: float) -> None:
        """Have objects whose keys begin with `prefix` be older."""
        with self._lock:
            for key, versions in self._versions.items():
                if key.startswith(prefix):
                    versions[:] = [attrs.evolve(one, modified=one.modified - seconds) for one in versions]

    def snapshot(self) -> dict[str, list[Version]]:
        """Return what is in the bucket."""
        with self._lock:
            return {key: [*versions] for key, versions in self._versions.items()}

    def restore(self, snapshot: dict[str, list[Version]]) -> None:
        """Have the bucket hold what it held then, and no unfinished upload."""
        with self._lock:
            self.uploads.clear()
            self._versions.clear()
            self._sorted = None
            self._versions.update({key: [*versions] for key, versions in snapshot.items()})

    def put_if(self, key: str, data: bytes, match: str | None, none_match: str | None) -> Version | int:
        """Store under conditions; return the status of the refusal otherwise."""
        with self._lock:
            present = self.get(key)
            if self.quirks.conditional_put == "obeyed" and not self._holds(present, match, none_match):
                return 412
            if self.quirks.conditional_put == "refused" and (match or none_match):
                return 501
            return self.put(key, data)

    def _holds(self, present: Version | None, match: str | None, none_match: str | None) -> bool:
        if none_match is not None and present is not None:
            return False
        if match is None:
            return True
        if present is None or (self.quirks.if_match_unquoted and '"' in match):
            return False
        return match.strip('"') == present.tag.strip('"')

    def begin(self, key: str) -> str:
        with self._lock:
            upload = f"upload-{next(self._numbers)}"
            self.uploads[upload] = key, {}
            return upload

    def put_part(self, upload: str, number: int, data: bytes) -> str | None:
        with self._lock:
            if upload not in self.uploads:
                return None
            self.uploads[upload][1][number] = data
            return f'"{md5(data)}"'

    def complete(self, upload: str, numbers: list[int]) -> Version | None:
        with self._lock:
            key, parts = self.uploads.pop(upload, ("", {}))
            if not key or set(numbers) - parts.keys():
                return None
            digests = b"".join(bytes.fromhex(md5(parts[number])) for number in numbers)
            tag = None if self.quirks.opaque_tags else f'"{md5(digests)}-{len(numbers)}"'
            return self.put(key, b"".join(parts[number] for number in numbers), tag)

    def abort(self, upload: str) -> bool:
        with self._lock:
            return self.uploads.pop(upload, None) is not None

    def page(self, prefix: str, delimiter: str, after: str, most: int) -> Page:
        """List what comes after the key or common prefix `after`, in the order of UTF-8."""
        with self._lock:
            keys = self.keys()
            found: dict[str, Version | None] = {}
            first = bisect_left(keys, prefix.encode(), key=str.encode)
            for key in itertools.islice(keys, max(first, bisect_right(keys, after.encode(), key=str.encode)), None):
                if not key.startswith(prefix):
                    break
                end = key.find(delimiter, len(prefix)) if delimiter else -1
                name = key if end < 0 else key[: end + len(delimiter)]
                if name == after or name in found:
                    continue
                if len(found) == most:
                    return _page(found, more=True)
                found[name] = self.get(key) if end < 0 else None
            return _page(found, more=False)


def _page(found: dict[str, Version | None], *, more: bool) -> Page:
    keys = tuple((name, version) for name, version in found.items() if version is not None)
    prefixes = tuple(name for name, version in found.items() if version is None)
    return Page(keys, prefixes, next(reversed(found), None) if more else None)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
