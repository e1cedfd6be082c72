"""What one hostile connection sends, and how. Pure, given the dice."""

from __future__ import annotations

import random
from itertools import pairwise

import attrs

from torture.mutations import mutated
from torture.smuggling import SHAPES, SMUGGLED

MOST_HEADS, MOST_CUTS = 40, 12


@attrs.frozen
class Piece:
    """Bytes that are sent at a stretch."""

    text: bytes
    heads: int
    """How many heads begin in it, so far as we know."""


@attrs.frozen
class Volley:
    """What one connection sends."""

    pieces: tuple[Piece, ...]
    waits: bool
    """Whether an answer is awaited after each piece: only a head that comes alone may take the express lane."""

    @property
    def text(self) -> bytes:
        """All of it."""
        return b"".join(piece.text for piece in self.pieces)


def volley(seed: str) -> Volley:
    """The connection that belongs to a seed: requests one by one, many at once or cut anywhere, or smuggling."""
    chance = random.Random(seed)
    (way,) = chance.choices((_one_by_one, _at_once, _cut, _smuggling), (50, 30, 10, 10))
    return way(chance)


def _heads(chance: random.Random) -> list[bytes]:
    """Seldom many: what stands behind a head that ends the connection is wasted."""
    return [mutated(chance) for _ in range(min(chance.randint(1, MOST_HEADS), chance.randint(1, MOST_HEADS)))]


def _one_by_one(chance: random.Random) -> Volley:
    return Volley(tuple(Piece(head, 1) for head in _heads(chance)), waits=True)


def _at_once(chance: random.Random) -> Volley:
    heads = _heads(chance)
    return Volley((Piece(b"".join(heads), len(heads)),), waits=False)


def _cut(chance: random.Random) -> Volley:
    """Cut anywhere: the daemon sees some of the pieces come alone."""
    heads = _heads(chance)
    text = b"".join(heads)
    places = sorted(chance.sample(range(1, len(text)), min(chance.randint(1, MOST_CUTS), len(text) - 1)))
    texts = [text[start:end] for start, end in pairwise((0, *places, len(text)))]
    return Volley(tuple(Piece(one, len(heads) if one is texts[0] else 0) for one in texts), waits=False)


def _smuggling(chance: random.Random) -> Volley:
    """A body of some shape, alone or behind a request, at once with its head or later."""
    before = mutated(chance) if chance.random() < 0.3 else b""
    shape, hidden = chance.choice(SHAPES), b"0\r\n\r\n" * chance.randint(0, 1) + SMUGGLED
    front = Piece(before + shape, 1 + bool(before))
    if chance.random() < 0.5:
        return Volley((front, Piece(hidden, 1)), waits=True)
    return Volley((Piece(front.text + hidden, front.heads + 1),), waits=False)
