"""Requests for the large image, chosen at random, with the response that each must get."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from torture.outcome import MIB

IMAGE_FILE = "large.img"
IMAGE = f"/v1/images/{IMAGE_FILE}"
_GENERAL = "TE: trailers\r\n"
"""A header with which no plan is remembered."""
_SMALL, _MIDDLING, _LARGE = (4096, 32 * 1024), (64 * 1024, 256 * 1024), (MIB, 4 * MIB)


@attrs.frozen
class CheckedRequest:
    """A request, the status to come, and the part of the image that the body is; `length` 0 is no body."""

    text: bytes
    status: int
    offset: int = 0
    length: int = 0
    declared: int | None = None
    """The Content-Length to come; None where it does not matter."""


@attrs.frozen
class ServedImage:
    """What is known of the image from its HEAD and manifest."""

    size: int
    etag: str
    version: str
    chunk_size: int
    index_width: int


def head_of(method: str, path: str, *lines: str) -> bytes:
    """A request without a body."""
    more = "".join(f"{line}\r\n" for line in lines)
    return f"{method} {path} HTTP/1.1\r\nHost: store.test\r\n{more}\r\n".encode("ascii")


def part(image: ServedImage, rng: random.Random, bounds: tuple[int, int], *lines: str) -> CheckedRequest:
    """A range of a random length within bounds, from anywhere, cut off at the end of the image."""
    offset, wanted = rng.randrange(image.size), rng.randint(*bounds)
    length = min(wanted, image.size - offset)
    text = head_of("GET", IMAGE, f"Range: bytes={offset}-{offset + wanted - 1}", *lines)
    return CheckedRequest(text, 206, offset, length, length)


def large(image: ServedImage, rng: random.Random) -> CheckedRequest:
    """A range of some megabytes."""
    return part(image, rng, _LARGE)


def anything(image: ServedImage, rng: random.Random) -> CheckedRequest:
    """One of a mix of which most are small ranges, one in eight of them with a head that is not remembered."""
    kind = rng.choices(_KINDS, _WEIGHTS)[0]
    return kind(image, rng)


def _small(image: ServedImage, rng: random.Random) -> CheckedRequest:
    return part(image, rng, _SMALL)


def _general(image: ServedImage, rng: random.Random) -> CheckedRequest:
    lines = _GENERAL.rstrip("\r\n"), f"If-Range: {image.etag}"
    return part(image, rng, _SMALL, *lines[: rng.randint(1, 2)])


def _middling(image: ServedImage, rng: random.Random) -> CheckedRequest:
    return part(image, rng, _MIDDLING)


def _middling_general(image: ServedImage, rng: random.Random) -> CheckedRequest:
    return part(image, rng, _MIDDLING, _GENERAL.rstrip("\r\n"))


def _chunk(image: ServedImage, rng: random.Random) -> CheckedRequest:
    index = rng.randrange(-(-image.size // image.chunk_size))
    offset = index * image.chunk_size
    length = min(image.chunk_size, image.size - offset)
    path = f"{IMAGE}/chunked/{image.version}/chunks/{index:0{image.index_width}}.bin"
    return CheckedRequest(head_of("GET", path), 200, offset, length, length)


def _head(image: ServedImage, _chance: random.Random) -> CheckedRequest:
    return CheckedRequest(head_of("HEAD", IMAGE), 200, declared=image.size)


def _unchanged(image: ServedImage, _chance: random.Random) -> CheckedRequest:
    return CheckedRequest(head_of("GET", IMAGE, f"If-None-Match: {image.etag}"), 304)


_MIX: tuple[tuple[Callable[[ServedImage, random.Random], CheckedRequest], int], ...] = (
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
