"""Any interleaving of writes, segments, turns and reads gives exactly the right bytes in order, counted exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.streaming.tcp_pair import (
    KIB,
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

SIZES = st.one_of(st.integers(0, 300), st.integers(0, 200 * KIB))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), SIZES, st.just(0)),
        st.tuples(st.just("write_sequence"), st.integers(0, 5000), st.just(0)),
        st.tuples(st.just("write_through"), SIZES, st.just(0)),
        st.tuples(st.just("send_file"), SIZES, st.integers(0, MIB)),
        st.tuples(st.just("send_file_with_head"), st.integers(0, 3 * MIB), st.integers(0, MIB)),
        st.tuples(st.just("turn"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("read"), SIZES, st.just(0)),
        st.tuples(st.just("disk"), st.just(0), st.just(0)),
    ),
    max_size=30,
)
COLD = st.lists(st.tuples(st.integers(0, 4 * MIB), st.integers(1, MIB)), max_size=3)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeFile]:
    """A file that all examples share."""
    path: Path = tmp_path_factory.mktemp("image") / "disk.img"
    path.write_bytes(pattern(5 * MIB))
    with path.open("rb") as opened:
        yield FakeFile(path, opened.fileno())


def perform(
    pair: ConnectionPair, file: FakeFile, step: tuple[str, int, int], expected: bytearray, ends: list[int]
) -> None:
    kind, size, offset = step
    server = pair.server
    data = pattern(size, offset)
    if kind == "write":
        server.write(data)
        expected += data
    elif kind == "write_sequence":
        server.writeSequence([data, b"", b"more"])
        expected += data + b"more"
    elif kind == "write_through":
        server.write_through(data)
        expected += data
    elif kind.startswith("send_file"):
        head = b"" if kind == "send_file" else b"head"
        expected += head + data
        length = len(expected)
        server.send_file(file, offset, size, head).addCallback(lambda _: ends.append(length))
    elif kind == "turn":
        pair.turn(size)
    elif kind == "read":
        pair.take(size)
    elif pair.disk.jobs:
        pair.disk.step()


@given(steps=STEPS, cold_spots=COLD, buffers=st.sampled_from([8 * KIB, 64 * KIB, None]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_interleaving(
    image: FakeFile,
    cold: list[tuple[int, int]],
    steps: list[tuple[str, int, int]],
    cold_spots: list[tuple[int, int]],
    buffers: int | None,
) -> None:
    """Whatever the order of calls, the peer gets all bytes in order, ends come in order, `unsent` is always exact."""
    cold[:] = [(offset, offset + length) for offset, length in cold_spots]
    expected, ends = bytearray(), list[int]()
    before = descriptors()
    with ExitStack() as stack:
        reactor = ManualReactor()
        stack.callback(reactor.close)
        pair = stack.enter_context(closing(connect(reactor, ManualDisk(), cold, buffers)))
        for step in steps:
            perform(pair, image, step, expected, ends)
            assert 0 <= pair.server.unsent <= len(expected) - len(pair.taken)
            assert pair.disk.most <= 1
        pair.run(step=False)
        assert len(pair.taken) == len(expected) - pair.server.unsent
        pair.run()
        assert pair.taken == expected
        assert pair.server.unsent == 0
        assert not pair.writes
        assert ends == sorted(ends)
        assert len(ends) == sum(kind.startswith("send_file") for kind, _, _ in steps)
    assert descriptors() == before
