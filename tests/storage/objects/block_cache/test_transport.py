"""Cached objects through the transport that sends files."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.storage.objects.block_cache.workers import BLOCK, Origin, Worker, pattern
from tests.streaming.tcp_pair import ConnectionPair, ManualReactor, closing, connect, result_of

DATA = pattern(40 * BLOCK + 77)
_TURNS = 5000


@pytest.fixture
def pair(worker: Worker) -> Iterator[ConnectionPair]:
    reactor = ManualReactor()
    with closing(connect(reactor, worker.threads, [])) as connection:
        yield connection
    reactor.close()


def _received(pair: ConnectionPair, worker: Worker, length: int) -> bytes:
    for _ in range(_TURNS):
        pair.turn()
        worker.turn()
        pair.take()
        if len(pair.taken) >= length:
            break
    return bytes(pair.taken)


@pytest.mark.parametrize(("offset", "length"), [(0, len(DATA)), (5 * BLOCK + 3, 1000), (77, 3 * BLOCK)])
def test_bytes(pair: ConnectionPair, worker: Worker, offset: int, length: int) -> None:
    """Short and long bodies come whole, cold and warm; nothing of them is watched."""
    opened = worker.open(Origin(DATA))
    for _ in range(2):
        done = result_of(pair.server.send_file(opened.another(), offset, length))
        assert _received(pair, worker, length) == DATA[offset : offset + length]
        assert done == [None]
        pair.taken.clear()
    opened.close()


@pytest.mark.parametrize("limit", [2 * BLOCK, 0])
def test_a_cache_that_is_too_small(pair: ConnectionPair, make_worker: Callable[..., Worker], limit: int) -> None:
    """A body comes whole though its blocks are evicted at once, or are never taken by the disk."""
    worker = make_worker(limit=limit)
    opened = worker.open(Origin(DATA))
    done = result_of(pair.server.send_file(opened.another(), 0, len(DATA)))
    assert _received(pair, worker, len(DATA)) == DATA
    assert done == [None]
    opened.close()
