"""The data extents of an image as a value of bounded size; all that they do not cover is zeros (http.md §14). Pure.

Two arrays of 8-byte numbers hold it: 60,000 extents take 1 MB, and no image takes more than 4 MiB.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import attrs

MOST_KEPT = 262_144
"""Extents of one image; of more, neighbours are joined."""

_LEAST_GRANULE = 512
"""The first granule to which exact extents are widened, in bytes."""


def _no_bounds() -> array[int]:
    return array("Q")


@attrs.frozen
class Extents:
    """Extents in order, of which no two touch: the bytes from `firsts[n]` to before `afters[n]` may be data."""

    size: int
    """Of the image, in bytes."""
    firsts: array[int] = attrs.field(repr=False)
    afters: array[int] = attrs.field(repr=False)
    granule: int = 1
    """Bytes; above 1 there were too many extents: the bounds are multiples of it, but for the end of the image."""

    @property
    def number(self) -> int:
        """How many extents there are."""
        return len(self.firsts)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield the extents, each with its first byte and the one after its last."""
        return zip(self.firsts, self.afters, strict=True)


@attrs.frozen
class KnownExtents:
    """Where the data of an image is, and the size of its published chunks in bytes; None is unknown."""

    extents: Extents | None = None
    chunk_size: int | None = None

    def overlapped(self, found: Extents) -> KnownExtents:
        """Return the same, but what `found` calls zeros is no data either."""
        return attrs.evolve(self, extents=found if self.extents is None else overlap(found, self.extents))


@attrs.define
class ExtentsBuilder:
    """Makes Extents of pieces of data that are added in order.

    `granule`, in bytes: 1, or that to which each piece is widened. It is doubled until `most` extents are enough, so
    time and memory are bounded whatever is added.
    """

    size: int
    granule: int = 1
    most: int = MOST_KEPT
    _firsts: array[int] = attrs.field(init=False, factory=_no_bounds)
    _afters: array[int] = attrs.field(init=False, factory=_no_bounds)
    _is_coarse: bool = attrs.field(init=False, default=False)

    def add(self, first: int, after: int) -> None:
        """Add the bytes from `first` to before `after`, which is larger; they begin at or after the last ones."""
        self._put(first, after)
        while len(self._firsts) > self.most:
            self._coarsen()

    def _put(self, first: int, after: int) -> None:
        if self.granule > 1:
            first -= first % self.granule
            after = min(-(-after // self.granule) * self.granule, self.size)
        if self._afters and first <= self._afters[-1]:
            self._afters[-1] = max(after, self._afters[-1])
        else:
            self._firsts.append(first)
            self._afters.append(after)

    def _coarsen(self) -> None:
        firsts, afters = self._firsts, self._afters
        self._firsts, self._afters = _no_bounds(), _no_bounds()
        self.granule, self._is_coarse = max(_LEAST_GRANULE, 2 * self.granule), True
        for first, after in zip(firsts, afters, strict=True):
            self._put(first, after)

    def finish(self) -> Extents:
        """Return all that was added."""
        return Extents(self.size, self._firsts, self._afters, self.granule if self._is_coarse else 1)


def everything(size: int) -> Extents:
    """Return the one extent of an image of which nothing is known; none if it is empty."""
    builder = ExtentsBuilder(size)
    if size:
        builder.add(0, size)
    return builder.finish()


def overlap(one: Extents, other: Extents) -> Extents:
    """Return the bytes that both call data: zeros to either of them are zeros. Both are of one image."""
    builder = ExtentsBuilder(one.size)
    ours, theirs = one.pairs(), other.pairs()
    our, their = next(ours, None), next(theirs, None)
    while our is not None and their is not None:
        first, after = max(our[0], their[0]), min(our[1], their[1])
        if first < after:
            builder.add(first, after)
        if our[1] < their[1]:
            our = next(ours, None)
        else:
            their = next(theirs, None)
    return builder.finish()
