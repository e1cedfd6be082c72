"""The soak itself: a short one against the real daemon, and that it sees what is wrong."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from bench.data import HOT, MIB
from bench.soak import Record, main
from torture.image_content import PERIOD, Content, differing
from torture.soak.mixed_client import Tally
from torture.soak.requests import ServedImage, anything, large

SITE = ServedImage(3 * MIB + 5, '"tag"', "v1", 256 * 1024, 8)


def test_short_soak(capsys: pytest.CaptureFixture[str]) -> None:
    """Some hundred requests of all kinds get what they should, and leave nothing open."""
    status = main(
        ["--requests", "400", "--clients", "4", "--image-size", str(5 * MIB + 512), "--growth", "64", "--quiet"]
    )
    said = capsys.readouterr()
    assert (status, said.err) == (0, "")
    record = json.loads(said.out)
    assert (record["requests"], record["wrong_bytes"], record["faults"]) == (400, 0, [])
    assert record["bytes_compared"] > MIB


def test_content(tmp_path: Path) -> None:
    """The file is what its parts say, across the end of a period too."""
    content = Content(2 * PERIOD + 100)
    content.write(tmp_path)
    data = (tmp_path / HOT).read_bytes()
    assert len(data) == content.size
    for offset in (0, PERIOD - 10, 2 * PERIOD + 50):
        assert data[offset : offset + 50] == content.part(offset, 50)
    assert content.part(0, 4096) != content.part(MIB, 4096)


@pytest.mark.parametrize(
    ("got", "wanted", "wrong"), [(b"abc", b"abc", 0), (b"abd", b"abc", 1), (b"ab", b"abc", 1), (b"xbc1", b"abc", 2)]
)
def test_differing(got: bytes, wanted: bytes, wrong: int) -> None:
    """Bytes that differ, are missing or are too many count."""
    assert differing(got, wanted) == wrong


def test_asks_stay_within_the_image() -> None:
    """No ask expects bytes beyond the end; each kind turns up."""
    rng = random.Random(3)
    asks = [anything(SITE, rng) for _ in range(2000)] + [large(SITE, rng) for _ in range(200)]
    assert all(0 <= ask.offset <= ask.offset + ask.length <= SITE.size for ask in asks)
    assert {ask.status for ask in asks} == {200, 206, 304}
    texts = b"".join(ask.text for ask in asks)
    assert all(word in texts for word in (b"HEAD ", b"/chunks/", b"TE: ", b"If-Range: ", b"If-None-Match: "))


def test_wrong_bytes_are_seen() -> None:
    """A byte that is wrong is counted, told, and makes the record complain."""
    tally = Tally(1)
    assert (tally.take(5), tally.take(1)) == (1, 0)
    tally.ended(large(SITE, random.Random(1)), b"abd", b"abc")
    assert (tally.done, tally.compared, tally.wrong, len(tally.faults)) == (1, 3, 1, 1)


@pytest.mark.parametrize(
    ("wrong", "late", "descriptors", "complaints"),
    [(0, 9, 7, 0), (1, 9, 7, 1), (0, 11, 7, 1), (0, 9, 8, 1), (2, 11, 8, 3)],
)
def test_complaints(wrong: int, late: int, descriptors: int, complaints: int) -> None:
    """Wrong bytes, memory that grew by more than it may, and descriptors that were kept: each is told."""
    record = Record(10, 1.0, 100, wrong, 0, [], [8 * MIB, 20 * MIB, late * MIB], 7, descriptors)
    assert len(record.complaints(2 * MIB)) == complaints
