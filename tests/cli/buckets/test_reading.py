"""Objects that commands read from beginning to end, in more pieces than are on their way at once."""

from __future__ import annotations

import random

import pytest
from tests.cli.buckets.conftest import ROOT, Root
from tests.object_store.server import ObjectStore

from aero_storage.cli.buckets.reading import pieces_of
from aero_storage.settings.origin_url import parse_origin_url
from aero_storage.storage.objects.opening import open_origin

PIECE = 1000


@pytest.mark.parametrize("size", [0, 1, 4 * PIECE, 4 * PIECE + 1, 5 * PIECE, 19 * PIECE + 7])
def test_every_piece_comes_in_order(store: ObjectStore, root: Root, size: int) -> None:
    """No piece is left out, whatever the number of pieces is."""
    data = random.Random(5).randbytes(size)
    root.put("disk.img", data)
    origin = open_origin(parse_origin_url(ROOT), store.environ, 5.0)
    pieces = [bytes(piece) for piece in pieces_of(origin, origin.head("disk.img"), PIECE)]
    assert b"".join(pieces) == data
    assert all(len(piece) == PIECE for piece in pieces[:-1])
