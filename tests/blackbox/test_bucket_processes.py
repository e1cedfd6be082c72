"""Processes over a bucket: workers with one cache, one that is killed in a fill, a stop beside hanging streams."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import Daemon, running, until
from tests.blackbox.image_roots import entry
from tests.blackbox.test_object_store import DISK, TIMEOUT, filled, flags
from tests.blackbox.worker_processes import is_serving, wait_for_replacement, worker_pids
from tests.object_store import faults
from tests.object_store.server import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.raw_http import RawConnection

BLOCK = 65_536
KEY = "root/disk.img"


@pytest.fixture
def object_store() -> Iterator[ObjectStore]:
    with ObjectStore() as store:
        yield store


def over_bucket(store: ObjectStore, path: Path, *more: str) -> tuple[str, ...]:
    filled(store, path.name.lower())
    return flags(path.name.lower(), *more)


def cache_flags(path: Path) -> tuple[str, ...]:
    return ("--cache-dir", str(path / "cache"), "--cache-block-bytes", str(BLOCK))


def ask_for(conn: RawConnection, first: int, last: int, mark: str) -> None:
    field = f"Host: a\r\nX-Request-Id: {mark}\r\nRange: bytes={first}-{last}\r\n\r\n"
    conn.send(f"GET /v1/images/disk HTTP/1.1\r\n{field}".encode())


def one_connection_of_each(daemon: Daemon, stack: ExitStack) -> dict[int, RawConnection]:
    """Return a connection to each of two workers, by the worker's number."""
    found: dict[int, RawConnection] = {}
    for number in range(64):
        conn = stack.enter_context(daemon.dial())
        ask_for(conn, 0, 9, f"which-{number}")
        assert conn.reply().body == DISK[:10]
        found.setdefault(daemon.complete(f"which-{number}")["worker"], conn)
        if len(found) > 1:
            return found
    raise AssertionError(f"only worker {set(found)} answers")


def test_a_worker_killed_in_a_fill(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """What a worker was fetching when it was killed, another one that waits for it fetches; no byte is wrong."""
    path = home("killed")
    given = over_bucket(object_store, path, "--workers", "2", *cache_flags(path))
    with running(path, *given, env=object_store.environ) as daemon, ExitStack() as stack:
        until(lambda: is_serving(daemon, 1) and is_serving(daemon, 2), 15)
        conns = one_connection_of_each(daemon, stack)
        first = 5 << 20
        object_store.faults.add(faults.cut(1000, faults.HANG), "get", key=KEY)
        ask_for(conns[1], first, first + 999, "filling")
        until(lambda: object_store.requests[-1].headers.get("range") == f"bytes={first}-{first + BLOCK - 1}")
        ask_for(conns[2], first, first + 999, "waiting")
        os.kill(worker_pids(daemon)[1], signal.SIGKILL)
        assert conns[2].reply().body == DISK[first : first + 1000]
        conns[1].rest()
        wait_for_replacement(daemon, 1, 2)
        for _ in range(8):  # both workers, from the cache that both have filled
            assert daemon.ask("/v1/images/disk").body == DISK


@pytest.mark.parametrize("cached", [False, True], ids=["plain", "cached"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_beside_streams_that_hang(
    object_store: ObjectStore,
    home: Callable[[str], Path],
    *,
    cached: bool,
    workers: int,
) -> None:
    """A stream whose rest does not come from the store is reset, and holds up no stop beyond the time for a piece."""
    path = home("stopped")
    more = cache_flags(path) if cached else ()
    given = over_bucket(object_store, path, "--workers", str(workers), *more)
    with running(path, *given, env=object_store.environ) as daemon, ExitStack() as stack:
        conns = [stack.enter_context(daemon.dial(receive_buffer=65_536)) for _ in range(4)]
        for conn in conns:
            conn.send(b"GET /v1/images/disk HTTP/1.1\r\nHost: a\r\n\r\n")
            assert conn.reply_head().status == 200
            assert conn.take(100_000) == DISK[:100_000]
        object_store.faults.add(faults.HANGING, "get", key=KEY, times=math.inf)
        daemon.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        for conn in conns:
            rest = conn.rest(TIMEOUT + 8)
            assert conn.ending == "reset"
            assert len(rest) < len(DISK) - 100_000
            assert DISK.startswith(rest, 100_000)
        assert daemon.process.wait(5) == 0
        assert time.monotonic() - began < 3 * TIMEOUT + 5


def test_a_head_that_tells_another_size(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """A store that tells a wrong size once, or 0 each time, has no image sent that is short and looks whole."""
    path = home("sizes")
    with running(path, *over_bucket(object_store, path), env=object_store.environ) as daemon:
        object_store.faults.add(faults.headers(content_length="1000"), "head", key=KEY)
        assert daemon.ask("/v1/images/disk").body == DISK
        object_store.faults.add(faults.headers(content_length="0"), "head", key="root/sub/small.img", times=math.inf)
        assert daemon.ask("/v1/images/small").body == DISK[:70_000]


def test_each_worker_is_ready_while_the_store_is_away(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """A worker that nobody has asked whether it is ready since the catalog changed is so when the store goes away."""
    path = home("ready")
    given = over_bucket(object_store, path, "--workers", "2")
    bucket = object_store.bucket(path.name.lower())
    with running(path, *given, env=object_store.environ) as daemon:
        until(lambda: is_serving(daemon, 1) and is_serving(daemon, 2), 15)
        bucket.put("root/manifest.json", json.dumps({"images": [entry("disk", name="Another")]}).encode())
        until(lambda: len([line for line in daemon.lines() if line["message"] == "catalog loaded"]) == 4, 15)
        time.sleep(2)  # the workers look at a new catalog within a second
        object_store.faults.add(faults.HANGING, times=math.inf)
        assert {daemon.ask("/readyz").status for _ in range(16)} == {200}


def test_no_more_is_asked_for_than_is_sent(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """Without a cache the store is asked for the bytes of the body, in pieces of 1 MiB, and for no others."""
    path = home("exact")
    with running(path, *over_bucket(object_store, path), env=object_store.environ) as daemon:

        def asked(method: str, fields: dict[str, str]) -> list[str]:
            before = len(object_store.requests)
            daemon.ask("/v1/images/disk", method, fields)
            return [one.headers["range"] for one in object_store.requests[before:] if one.operation == "get"]

        tag = daemon.ask("/v1/images/disk", "HEAD")["ETag"]
        assert asked("HEAD", {}) == asked("HEAD", {"Range": "bytes=0-99"}) == []
        assert asked("GET", {"If-None-Match": tag}) == asked("GET", {"Range": "bytes=99999999-"}) == []
        assert asked("GET", {"Range": "bytes=7-99"}) == ["bytes=7-99"]
        assert asked("GET", {"Range": "bytes=7-1500006"}) == ["bytes=7-1048582", "bytes=1048583-1500006"]
        assert object_store.count("head", key=KEY) == 1
