"""Verifies published chunks against their manifest, and that clients accept them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from operator import itemgetter

import attrs

from aero_storage.chunks.manifest import (
    CHUNKS_DIRECTORY,
    ChunkManifest,
    content_version,
    is_content_version,
)
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.chunks.parallel import WorkItems, share_out
from aero_storage.chunks.verify.source import ChunkSource, Content
from aero_storage.errors import ChunkFormatError

Track = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Shows progress through a number of bytes: yields a function that is called, from any thread, with bytes done."""

MANIFEST = "manifest"
"""The `where` of a mismatch that concerns no single chunk."""


@attrs.frozen
class Mismatch:
    """One difference between the published data and its manifest or the format."""

    where: str
    """`manifest`, or a file below it: `chunks/00000000.bin`."""
    what: str


@attrs.frozen
class VerifyReport:
    """The result of a verification."""

    source: str
    manifest: ChunkManifest | None
    """None if it is invalid, so that no chunk could be checked."""
    chunks: int
    """Number of chunks checked."""
    bytes: int
    """Their total size according to the manifest."""
    mismatches: tuple[Mismatch, ...]
    remarks: tuple[str, ...]
    """Checks not made, with the reason."""

    @property
    def is_good(self) -> bool:
        """Whether there are no mismatches."""
        return not self.mismatches


def _untracked(_total: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda _count: None)


def verify(  # noqa: PLR0913 - by name, and most of them rarely
    source: ChunkSource,
    *,
    jobs: int,
    sample: int | None = None,
    rng: random.Random | None = None,
    image_id: str | None = None,
    version: str | None = None,
    track: Track = _untracked,
) -> VerifyReport:
    """Check the manifest, and the sizes and digests of all chunks, or of a random `sample` with the first and last.

    `image_id` and `version` are those that the manifest must name, if given. All mismatches are in the report. Raises
    OperatorError if the manifest cannot be read.
    """
    document = source.manifest()
    faults = [Mismatch(MANIFEST, fault) for fault in document.faults]
    try:
        manifest = None if document.data is None else parse_chunk_manifest(document.data)
    except ChunkFormatError as error:
        faults.append(Mismatch(MANIFEST, str(error)))
        manifest = None
    if manifest is None:
        return VerifyReport(source.name, None, 0, 0, tuple(faults), ("no chunk was checked",))
    faults += (Mismatch(MANIFEST, fault) for fault in _name_faults(manifest, image_id, version))
    chosen = _choose(manifest.chunk_count, sample, rng or random.SystemRandom())
    total = sum(map(manifest.chunk_length, chosen))
    with track(total) as advance:
        check = _Check(source, manifest, advance)
        share_out(chosen, jobs, check.work)
    faults += [*check.mismatches(), *_strays(source, manifest)]
    return VerifyReport(source.name, manifest, len(chosen), total, tuple(faults), tuple(_remarks(manifest, chosen)))


def _name_faults(manifest: ChunkManifest, image_id: str | None, version: str | None) -> Iterator[str]:
    if image_id not in (None, manifest.image_id):
        yield f"imageId: must be {image_id}, not {manifest.image_id}"
    if version not in (None, manifest.version):
        yield f"version: must be {version}, not {manifest.version}"
    if manifest.digests is not None and is_content_version(manifest.version):
        made = content_version(manifest.total_size, manifest.chunk_size, manifest.digests)
        if made != manifest.version:
            yield f"version: by its sizes and digests this is {made}, not {manifest.version}"


def _choose(count: int, sample: int | None, rng: random.Random) -> Sequence[int]:
    if sample is None or sample >= count:
        return range(count)
    within = rng.sample(range(1, count - 1), max(sample - 2, 0))
    return sorted({0, count - 1, *within})


def _strays(source: ChunkSource, manifest: ChunkManifest) -> Iterator[Mismatch]:
    try:
        for name in sorted(source.strays(manifest)):
            yield Mismatch(f"{CHUNKS_DIRECTORY}/{name}", "is no chunk of the manifest")
    except OSError as error:
        yield Mismatch(CHUNKS_DIRECTORY, f"cannot be listed: {error.strerror}")


def _remarks(manifest: ChunkManifest, chosen: Sequence[int]) -> Iterator[str]:
    if manifest.digests is None:
        yield "the manifest has no digests, so that only sizes were checked"
    if len(chosen) < manifest.chunk_count:
        yield f"{len(chosen)} of {manifest.chunk_count} chunks were checked"


@attrs.define(eq=False)
class _Check:
    """The state that the threads share."""

    source: ChunkSource
    manifest: ChunkManifest
    advance: Callable[[int], None]
    _found: list[tuple[int, str]] = attrs.field(init=False, factory=list)
    _known: dict[Hashable, bytes] = attrs.field(init=False, factory=dict)
    """Digests of files with several names, by identity: all chunks of zeros may be one file."""

    def mismatches(self) -> Iterator[Mismatch]:
        for index, what in sorted(self._found, key=itemgetter(0)):
            yield Mismatch(f"{CHUNKS_DIRECTORY}/{self.manifest.chunk_name(index)}", what)

    def work(self, share: WorkItems[int]) -> None:
        for index in share:
            try:
                with self.source.chunk(self.manifest.chunk_name(index)) as content:
                    for fault in self._faults(index, content, share):
                        self._found.append((index, fault))
            except FileNotFoundError:
                self._found.append((index, "is missing"))
            except OSError as error:
                self._found.append((index, f"cannot be read: {error.strerror or error}"))
            self.advance(self.manifest.chunk_length(index))

    def _faults(self, index: int, content: Content, share: WorkItems[int]) -> Iterator[str]:
        yield from content.faults
        length, digest = self.manifest.chunk_length(index), self.manifest.digest(index)
        if content.length not in (None, length):
            yield f"has {content.length} bytes instead of {length}"
        elif content.is_usable and not (content.is_certain and digest is None):
            yield from self._body_faults(content, length, digest, share)

    def _body_faults(
        self, content: Content, length: int, digest: bytes | None, share: WorkItems[int]
    ) -> Iterator[str]:
        found = self._known.get(content.identity)
        if found is None:
            size, found = _digest(content, length, share)
            if size != length:
                yield f"has {'more than' if size > length else f'{size} bytes instead of'} {length}"
                return
            if content.identity is not None:
                self._known[content.identity] = found
        if digest not in (None, found):
            yield f"has the SHA-256 digest {found.hex()}, not the manifest's"


def _digest(content: Content, limit: int, share: WorkItems[int]) -> tuple[int, bytes]:
    """Return size and digest of the content; at most one piece beyond `limit` is read."""
    digest, size = hashlib.sha256(), 0
    for piece in content.pieces:
        share.check()
        digest.update(piece)
        size += len(piece)
        if size > limit:
            break
    return size, digest.digest()
