"""Connections, files and a disk for the transport's tests; whatever they do, all descriptors come back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.streaming.tcp_pair import (
    MIB,
    ConnectionPair,
    FakeFile,
    ManualDisk,
    ManualReactor,
    closing,
    connect,
    descriptors,
    pattern,
)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is closed at the end of a test; after that, no descriptor is open that was not before."""
    before = descriptors()
    with ExitStack() as stack:
        yield stack
    assert not descriptors() - before  # what others have left may be collected meanwhile


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What of all files is not in the page cache, as (offset, end): nothing, wherever tests keep their files."""
    spans: list[tuple[int, int]] = []

    def is_resident(_descriptor: int, offset: int, length: int) -> bool:
        return not any(begin < offset + length and offset < end for begin, end in spans)

    monkeypatch.setattr("tests.streaming.tcp_pair.is_resident", is_resident)
    return spans


@pytest.fixture
def disk() -> ManualDisk:
    """A disk that works when it is told to."""
    return ManualDisk()


@pytest.fixture
def reactor(stack: ExitStack) -> ManualReactor:
    """A reactor that turns when it is told to."""
    hand = ManualReactor()
    stack.callback(hand.close)
    return hand


@pytest.fixture
def make_pair(
    stack: ExitStack, reactor: ManualReactor, disk: ManualDisk, cold: list[tuple[int, int]]
) -> Callable[..., ConnectionPair]:
    """Make a connection."""
    return lambda **options: stack.enter_context(closing(connect(reactor, disk, cold, **options)))


@pytest.fixture
def pair(make_pair: Callable[..., ConnectionPair]) -> ConnectionPair:
    """A connection with small buffers."""
    return make_pair()


@pytest.fixture
def make_file(stack: ExitStack, tmp_path: Path) -> Callable[..., FakeFile]:
    """Make a file of so many bytes of the pattern, and open it."""

    def make(size: int, name: str = "disk.img") -> FakeFile:
        path = tmp_path / name
        path.write_bytes(pattern(size))
        descriptor = os.open(path, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        return FakeFile(path, descriptor)

    return make


@pytest.fixture
def file(make_file: Callable[..., FakeFile]) -> FakeFile:
    """8 MiB: far more than sockets take."""
    return make_file(8 * MIB)
