"""What the clients of the soak ask for, and what has to come back. Pure, given the dice."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from bench.client import HOST
from bench.data import HOT, MIB

IMAGE = f"/v1/images/{HOT}"
_GENERAL = "TE: trailers\r\n"
"""A header that is not for the express lane."""
_SMALL, _MIDDLING, _LARGE = (4096, 32 * 1024), (64 * 1024, 256 * 1024), (MIB, 4 * MIB)


@attrs.frozen
class Ask:
    """A request, the status to come, and the part of the image that the body is; `length` 0 is no body."""

    text: bytes
    status: int
    offset: int = 0
    length: int = 0
    declared: int | None = None
    """The Content-Length to come; None where it does not matter."""


@attrs.frozen
class Site:
    """What is known of the image from its HEAD and manifest."""

    size: int
    etag: str
    version: str
    chunk_size: int
    index_width: int


def head_of(method: str, path: str, *lines: str) -> bytes:
    """A request without a body."""
    more = "".join(f"{line}\r\n" for line in lines)
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n".encode("ascii")


def part(site: Site, chance: random.Random, bounds: tuple[int, int], *lines: str) -> Ask:
    """A range of a random length within bounds, from anywhere, cut off at the end of the image."""
    offset, wanted = chance.randrange(site.size), chance.randint(*bounds)
    length = min(wanted, site.size - offset)
    text = head_of("GET", IMAGE, f"Range: bytes={offset}-{offset + wanted - 1}", *lines)
    return Ask(text, 206, offset, length, length)


def large(site: Site, chance: random.Random) -> Ask:
    """A range of some megabytes."""
    return part(site, chance, _LARGE)


def anything(site: Site, chance: random.Random) -> Ask:
    """One of a mix of which most are small ranges, one in eight of them by the general lane."""
    kind = chance.choices(_KINDS, _WEIGHTS)[0]
    return kind(site, chance)


def _small(site: Site, chance: random.Random) -> Ask:
    return part(site, chance, _SMALL)


def _general(site: Site, chance: random.Random) -> Ask:
    lines = _GENERAL.rstrip("\r\n"), f"If-Range: {site.etag}"
    return part(site, chance, _SMALL, *lines[: chance.randint(1, 2)])


def _middling(site: Site, chance: random.Random) -> Ask:
    return part(site, chance, _MIDDLING)


def _middling_general(site: Site, chance: random.Random) -> Ask:
    return part(site, chance, _MIDDLING, _GENERAL.rstrip("\r\n"))


def _chunk(site: Site, chance: random.Random) -> Ask:
    index = chance.randrange(-(-site.size // site.chunk_size))
    offset = index * site.chunk_size
    length = min(site.chunk_size, site.size - offset)
    path = f"{IMAGE}/chunked/{site.version}/chunks/{index:0{site.index_width}}.bin"
    return Ask(head_of("GET", path), 200, offset, length, length)


def _head(site: Site, _chance: random.Random) -> Ask:
    return Ask(head_of("HEAD", IMAGE), 200, declared=site.size)


def _unchanged(site: Site, _chance: random.Random) -> Ask:
    return Ask(head_of("GET", IMAGE, f"If-None-Match: {site.etag}"), 304)


_MIX: tuple[tuple[Callable[[Site, random.Random], Ask], int], ...] = (
    (_small, 62),
    (_general, 9),
    (_middling, 8),
    (_middling_general, 2),
    (large, 1),
    (_chunk, 6),
    (_head, 6),
    (_unchanged, 6),
)
_KINDS, _WEIGHTS = [kind for kind, _ in _MIX], [weight for _, weight in _MIX]
