"""What is sent is what it is said to be: hostile in all announced ways, and the same for the same rng_of."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from torture.fuzzing import hostile_values
from torture.fuzzing.hostile_connections import MOST_CUTS, MOST_HEADS, HostileConnection, hostile_connection
from torture.fuzzing.mutations import WAYS, Way, mutated, valid
from torture.fuzzing.smuggling import SHAPES, SMUGGLED

from aero_storage.http.plain import recognise

HEAD = b"GET /v1/images/disk HTTP/1.1\r\nHost: store.test\r\nRange: bytes=0-99\r\n\r\n"
HEADS = [valid(random.Random(seed)) for seed in range(2000)]
CONNECTIONS = [hostile_connection(f"test {number}") for number in range(2000)]
ONE_BY_ONE = [hostile for hostile in CONNECTIONS if hostile.waits and SMUGGLED not in hostile.text]


def rng_of(seed: int) -> random.Random:
    return random.Random(seed)


def made(way: Way, head: bytes = HEAD) -> set[bytes]:
    return {way(head, rng_of(seed)) for seed in range(300)}


def test_same_seed() -> None:
    """A complaint names the seed: it must send the same bytes again, and other seeds other bytes."""
    assert mutated(rng_of(5)) == mutated(rng_of(5))
    assert hostile_connection("seed 3") == hostile_connection("seed 3")
    assert len({hostile_connection(f"seed {number}").text for number in range(100)}) > 90


def test_valid_heads() -> None:
    """They are well formed: a request line of three words, one Host, fields with names, one blank line at the end."""
    for head in HEADS:
        lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        assert len(lines[0].split(b" ")) == 3
        assert lines[1] == b"Host: store.test"
        assert all(b":" in line for line in lines[1:])
        assert head.count(b"\r\n\r\n") == 1
        assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("table", ["PATHS", "METHODS", "RANGES", "FIELDS"])
def test_valid_heads_use_all(table: str) -> None:
    """Every path, method, range and field of the tables is sent."""
    text = b"\n".join(HEADS)
    missing = [one for one in getattr(hostile_values, table) if one.encode("latin-1") not in text]
    assert missing == []


def test_one_in_four_is_mutated() -> None:
    """As the report says: so connections are left on which several are answered."""
    changed = sum(mutated(rng_of(seed)) != HEADS[seed] for seed in range(len(HEADS)))
    assert 0.2 < changed / len(HEADS) < 0.28


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_ways_change_something(way: Way) -> None:
    """Each does something to a plain head, and not always the same."""
    changed = made(way) - {HEAD}
    assert len(changed) >= 9


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("text", [b"\r\n", b"x", b"GET", b"\x00 \x00", b" \r\n\r\n"])
def test_ways_take_what_others_have_left(way: Way, text: bytes) -> None:
    """They are applied to each other's ruins, and always leave a byte to be mutated."""
    assert all(made(way, text))


@pytest.mark.parametrize(
    "table", ["ODD_BYTES", "SEGMENTS", "TARGETS", "START_METHODS", "VERSIONS", "HOSTS", "FOREIGN"]
)
def test_ways_use_all(table: str) -> None:
    """Every oddity of the tables finds its way into a head."""
    text = b"\n".join(made_one for way in set(WAYS) for made_one in made(way))
    assert [one for one in getattr(hostile_values, table) if one not in text] == []


def test_shapes_announce_a_body() -> None:
    """Each is one head with a body in view, so that whoever answers what follows has been smuggled a request."""
    for shape in SHAPES:
        assert shape.endswith(b"\r\n\r\n")
        assert shape.count(b"\r\n\r\n") == 1
        assert b"content-length" in shape.lower() or b"transfer-encoding" in shape.lower()
    assert len(set(SHAPES)) == len(SHAPES)
    assert b"smuggled" in SMUGGLED
    assert not any(b"smuggled" in head for head in HEADS)


def test_volleys() -> None:
    """Connections of all kinds: one by one, at once, cut, smuggling; never longer than is said."""
    kinds = Counter(_kind(hostile) for hostile in CONNECTIONS)
    assert set(kinds) == {"one by one", "at once", "cut", "smuggling"}
    assert min(kinds.values()) > 100
    assert max(sum(piece.heads for piece in hostile.pieces) for hostile in CONNECTIONS) <= MOST_HEADS
    assert max(len(hostile.pieces) for hostile in CONNECTIONS if _kind(hostile) == "cut") <= MOST_CUTS + 1
    assert all(piece.text for hostile in CONNECTIONS for piece in hostile.pieces)
    sent = b"".join(hostile.text for hostile in CONNECTIONS)
    assert [shape for shape in SHAPES if shape not in sent] == []


def test_express_lane_is_tried() -> None:
    """Of what comes one by one, much has the form that the express lane takes, and much has not."""
    pieces = [piece.text for hostile in ONE_BY_ONE for piece in hostile.pieces]
    plain = sum(recognise(piece) is not None for piece in pieces)
    assert 0.3 < plain / len(pieces) < 0.7


def _kind(hostile: HostileConnection) -> str:
    if SMUGGLED in hostile.text:
        return "smuggling"
    if hostile.waits:
        return "one by one"
    return "at once" if len(hostile.pieces) == 1 else "cut"
