"""Where the digest of a chunk stands in a manifest that `publish` wrote: found without parsing all of it. Pure.

`ChunkManifest.to_json` writes a head and entries whose lengths are known, so the place of each entry is. A manifest
of another program is written in another way and is not taken.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aero_storage.chunks.manifest import ChunkManifest
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.errors import ChunkFormatError
from aero_storage.http.digests import is_sha256

MAX_HEAD_BYTES = 1024
"""Length of the beginning of a manifest, in bytes, that has all of its head: two names and six numbers."""

_BEFORE_ENTRIES = b',"chunks":['
_DIGITS = 64
_END = '"}'


@attrs.frozen
class PublishedForm:
    """A manifest in the form of `publish`."""

    manifest: ChunkManifest
    """Without its digests."""
    _first: int
    """Offset of its first entry, in bytes."""
    _width: int = attrs.field(init=False)
    """Length of an entry, and of the comma after it; the last entry may be shorter."""

    @_width.default
    def _measure(self) -> int:
        return len(_begin(self.manifest.chunk_size)) + _DIGITS + len(_END) + 1

    @classmethod
    def of(cls, beginning: bytes) -> PublishedForm | None:
        """Return the form of a manifest that begins so, with up to MAX_HEAD_BYTES; None if `publish` wrote none."""
        head, mark, _ = beginning.partition(_BEFORE_ENTRIES)
        if not mark:
            return None
        try:
            manifest = parse_chunk_manifest(head + b"}")
        except ChunkFormatError:
            return None
        return cls(manifest, len(head + mark)) if manifest.to_json() == head + b"}" else None

    def span(self, first: int, count: int) -> tuple[int, int]:
        """Return offset and greatest length, in bytes, of up to `count` entries from index `first` on."""
        return self._first + first * self._width, count * self._width

    @property
    def end(self) -> int:
        """The offset of the bracket behind the last entry: the rest of the manifest."""
        last = self.manifest.chunk_count - 1
        entry = len(_begin(self.manifest.chunk_length(last))) + _DIGITS + len(_END)
        return self._first + last * self._width + entry

    def sha256(self, index: int, size: int, entries: bytes, first: int) -> str | None:
        """Return the digest of a chunk of `size` bytes, in hex; None if its entry is of another size, or is none.

        `entries` is what stands at `span(first, …)`.
        """
        start = (index - first) * self._width
        at = start + len(_begin(size))
        digest = entries[at : at + _DIGITS].decode("latin-1")
        is_it = size == self.manifest.chunk_length(index) and is_sha256(digest)
        return digest if is_it and entries.startswith(self._entry(index, digest), start) else None

    def have_digests(
        self, first: int, after: int, digest_of: Callable[[int], str], entries: bytes, offset: int
    ) -> bool:
        """Return whether the entries from index `first` to before `after` have the digests that depend on size alone.

        `digest_of` returns that of a size, in hex; `entries` is what stands at `span(offset, …)`. They are compared
        as bytes, all at once.
        """
        last = self.manifest.chunk_count - 1
        usual = min(after, last) - first
        expected = self._entry(first, digest_of(self.manifest.chunk_size)) * usual if usual > 0 else b""
        if after > last:
            expected += self._entry(last, digest_of(self.manifest.chunk_length(last)))
        return entries.startswith(expected, (first - offset) * self._width)

    def _entry(self, index: int, digest: str) -> bytes:
        """Return an entry as `publish` writes it, with what stands behind it."""
        behind = "]" if index == self.manifest.chunk_count - 1 else ","
        return f"{_begin(self.manifest.chunk_length(index))}{digest}{_END}{behind}".encode("latin-1")


def _begin(size: int) -> str:
    return f'{{"size":{size},"sha256":"'
