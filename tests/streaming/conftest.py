"""Connections, files and a disk for the transport's tests; whatever they do, all descriptors come back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.streaming.ends import MIB, Disk, File, Hand, Pair, closing, connect, descriptors, pattern


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is closed at the end of a test; after that, no descriptor is open that was not before."""
    before = descriptors()
    with ExitStack() as stack:
        yield stack
    assert descriptors() == before


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What of all files is not in the page cache, as (offset, end): nothing, wherever tests keep their files."""
    spans: list[tuple[int, int]] = []

    def is_resident(_descriptor: int, offset: int, length: int) -> bool:
        return not any(begin < offset + length and offset < end for begin, end in spans)

    monkeypatch.setattr("aero_storage.streaming.file_segment.is_resident", is_resident)
    return spans


@pytest.fixture
def disk() -> Disk:
    """A disk that works when it is told to."""
    return Disk()


@pytest.fixture
def reactor(stack: ExitStack) -> Hand:
    """A reactor that turns when it is told to."""
    hand = Hand()
    stack.callback(hand.close)
    return hand


@pytest.fixture
def make_pair(stack: ExitStack, reactor: Hand, disk: Disk, cold: list[tuple[int, int]]) -> Callable[..., Pair]:
    """Make a connection."""
    return lambda **options: stack.enter_context(closing(connect(reactor, disk, cold, **options)))


@pytest.fixture
def pair(make_pair: Callable[..., Pair]) -> Pair:
    """A connection with small buffers."""
    return make_pair()


@pytest.fixture
def make_file(stack: ExitStack, tmp_path: Path) -> Callable[..., File]:
    """Make a file of so many bytes of the pattern, and open it."""

    def make(size: int, name: str = "disk.img") -> File:
        path = tmp_path / name
        path.write_bytes(pattern(size))
        descriptor = os.open(path, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        return File(path, descriptor)

    return make


@pytest.fixture
def file(make_file: Callable[..., File]) -> File:
    """8 MiB: far more than sockets take."""
    return make_file(8 * MIB)
