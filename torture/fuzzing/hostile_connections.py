"""Hostile connections, each made from a seed: the bytes to send, cut into pieces."""

from __future__ import annotations

import random
from itertools import pairwise

import attrs

from torture.fuzzing.mutations import mutated
from torture.fuzzing.smuggling import SHAPES, SMUGGLED

MOST_HEADS, MOST_CUTS = 40, 12


@attrs.frozen
class Piece:
    """Bytes that are sent at a stretch."""

    text: bytes
    heads: int
    """How many heads begin in it, so far as we know."""


@attrs.frozen
class HostileConnection:
    """What one connection sends."""

    pieces: tuple[Piece, ...]
    waits: bool
    """Whether an answer is awaited after each piece: so that each head comes alone."""

    @property
    def text(self) -> bytes:
        """All of it."""
        return b"".join(piece.text for piece in self.pieces)


def hostile_connection(seed: str) -> HostileConnection:
    """The connection that belongs to a seed: requests one by one, many at once or cut anywhere, or smuggling."""
    rng = random.Random(seed)
    (way,) = rng.choices((_one_by_one, _at_once, _cut, _smuggling), (50, 30, 10, 10))
    return way(rng)


def _heads(rng: random.Random) -> list[bytes]:
    """Seldom many: what stands behind a head that ends the connection is wasted."""
    return [mutated(rng) for _ in range(min(rng.randint(1, MOST_HEADS), rng.randint(1, MOST_HEADS)))]


def _one_by_one(rng: random.Random) -> HostileConnection:
    return HostileConnection(tuple(Piece(head, 1) for head in _heads(rng)), waits=True)


def _at_once(rng: random.Random) -> HostileConnection:
    heads = _heads(rng)
    return HostileConnection((Piece(b"".join(heads), len(heads)),), waits=False)


def _cut(rng: random.Random) -> HostileConnection:
    """Cut anywhere: the daemon sees some of the pieces come alone."""
    heads = _heads(rng)
    text = b"".join(heads)
    places = sorted(rng.sample(range(1, len(text)), min(rng.randint(1, MOST_CUTS), len(text) - 1)))
    texts = [text[start:end] for start, end in pairwise((0, *places, len(text)))]
    return HostileConnection(tuple(Piece(one, len(heads) if one is texts[0] else 0) for one in texts), waits=False)


def _smuggling(rng: random.Random) -> HostileConnection:
    """A body of some shape, alone or behind a request, at once with its head or later."""
    before = mutated(rng) if rng.random() < 0.3 else b""
    shape, hidden = rng.choice(SHAPES), b"0\r\n\r\n" * rng.randint(0, 1) + SMUGGLED
    front = Piece(before + shape, 1 + bool(before))
    if rng.random() < 0.5:
        return HostileConnection((front, Piece(hidden, 1)), waits=True)
    return HostileConnection((Piece(front.text + hidden, front.heads + 1),), waits=False)
