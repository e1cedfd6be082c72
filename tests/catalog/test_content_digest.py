"""The state of the file that a recorded digest was computed from: `sha256_of`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.catalog.content_digest import ContentDigest, disagreement, is_stamp, stamps, stamps_of
from aero_storage.catalog.model import Image
from aero_storage.catalog.parser import parse_manifest
from aero_storage.errors import CatalogError

if TYPE_CHECKING:
    from pathlib import Path

SHA256 = "0123456789abcdef" * 4
States = st.tuples(
    st.integers(0, 2**63), st.integers(-(2**63), 2**63), st.integers(-(2**63), 2**63), st.integers(0, 2**64 - 1)
)


def parsed(stamp: str) -> Image:
    entry = {"id": "a", "file": "a", "name": "a", "sha256": SHA256, "sha256_of": stamp}
    return parse_manifest(json.dumps([entry]).encode()).images[0]


@given(States)
def test_stamps_of_any_file(state: tuple[int, int, int, int]) -> None:
    """Both stamps of a file pass the catalog's check as they are, and the digest counts for that file."""
    for stamp in stamps(*state):
        assert parsed(stamp).sha256_of == stamp
        assert parsed(stamp).known_sha256(stamps(*state)) == SHA256
        assert not parsed(stamp).has_outdated_sha256(stamps(*state))


@given(States, States)
def test_stamps_of_two_files(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> None:
    """A digest counts for another state only if size and mtime, or all four, are the same."""
    short, exact = stamps(*one)
    assert (parsed(short).known_sha256(stamps(*other)) == SHA256) is (one[:2] == other[:2])
    assert (parsed(exact).known_sha256(stamps(*other)) == SHA256) is (one == other)


@given(st.text(alphabet="0123456789- .e\n\u0661", max_size=40))
def test_any_text(text: str) -> None:
    """What is taken is made of whole numbers, each written in one way; all else breaks the catalog."""
    numbers = text.removeprefix("-").replace("--", "-").split("-")
    if is_stamp(text):
        assert len(numbers) in (2, 4)
        assert all(number == str(int(number)) for number in numbers)
    else:
        with pytest.raises(CatalogError, match="sha256_of"):
            parsed(text)


@pytest.mark.parametrize(
    ("mtime_ns", "is_exact"),
    [(1_600_000_000_123_456_789, False), (10**9, True), (0, True), (-1, True), (315_532_800 * 10**9, True)],
)
def test_recorded(tmp_path: Path, mtime_ns: int, *, is_exact: bool) -> None:
    """Where the mtime is a constant of a build system, a replaced file of equal size is another one all the same."""
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode())
        os.utime(tmp_path / name, ns=(mtime_ns, mtime_ns))
    digest = ContentDigest.of(SHA256, (tmp_path / "one").stat())
    image = parsed(digest.stamp)
    assert digest.keys() == {"sha256": SHA256, "sha256_of": digest.stamp}
    assert image.known_sha256(stamps_of((tmp_path / "one").stat())) == SHA256
    (tmp_path / "two").rename(tmp_path / "one")
    assert image.has_outdated_sha256(stamps_of((tmp_path / "one").stat())) is is_exact


@pytest.mark.parametrize(
    ("stamp", "shown"),
    [("5-6", "5-7"), ("5--6", "5-7"), ("5-7-8-10", "5-7-8-9"), ("5-7--8-9", "5-7-8-9")],
)
def test_disagreement(stamp: str, shown: str) -> None:
    """The message shows the state of the file in the form that the entry has."""
    text = disagreement(stamp, stamps(5, 7, 8, 9))
    assert text == f"sha256_of is {stamp}, but the file is {shown}: its sha256 counts as unset"


def test_without_a_state() -> None:
    """The operator's own digest, without the state of a file, is believed; without a digest nothing is known."""
    assert Image("a", "a", "a", sha256=SHA256).known_sha256(stamps(1, 2, 3, 4)) == SHA256
    assert Image("a", "a", "a", sha256_of="1-2").known_sha256(stamps(1, 2, 3, 4)) is None
    for sha256_of, found in ((None, None), ("1-2", SHA256), ("1-3", None)):
        image = Image("a", "a", "a", sha256=SHA256, sha256_of=sha256_of)
        assert image.found_sha256(stamps(1, 2, 3, 4)) == found
    assert not Image("a", "a", "a", sha256_of="1-3").has_outdated_sha256(stamps(1, 2, 3, 4))
