"""A classroom: a recorded boot, replayed by many at once against one worker."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import attrs

from bench.boot.results import Classroom
from bench.errors import BenchError

SEATS = 30
_SECONDS = 60.0


@attrs.frozen
class Step:
    """A request for a range, and how long the guest was busy before it, in seconds."""

    pause: float
    extent: str


@attrs.frozen
class Replay:
    """How long it took, and the statuses that were not 206."""

    seconds: float
    refused: list[int]


def steps(lines: Iterable[dict[str, Any]]) -> list[Step]:
    """The steps of a boot from the lines of a log, one after the other: what overlapped follows at once."""
    spans = sorted(
        (ended - float(line["latency_seconds"]), ended, str(line["range"]))
        for line in lines
        if line["status"] == 206 and (ended := datetime.fromisoformat(line["timestamp"]).timestamp())
    )
    found, before = [], spans[0][0] if spans else 0.0
    for began, ended, extent in spans:
        found.append(Step(max(0.0, began - before), extent))
        before = max(before, ended)
    return found


def replay(port: int, path: str, boot: Iterable[Step], sleep: Callable[[float], None] = time.sleep) -> Replay:
    """Make the requests on one connection, each as long after the one before as in the record."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    began, refused = time.monotonic(), []
    for step in boot:
        sleep(step.pause)
        connection.request("GET", path, headers={"Range": f"bytes={step.extent}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 206:
            refused.append(answer.status)
    connection.close()
    return Replay(time.monotonic() - began, refused)


def classroom(port: int, path: str, loader: str, boot: list[Step], seats: int = SEATS) -> Classroom:
    """Replay a boot alone, then by all at once."""
    if not boot:
        raise BenchError(f"no boot was recorded of {loader}")
    alone = replay(port, path, boot)
    with ThreadPoolExecutor(seats) as pool:
        together = list(pool.map(lambda _: replay(port, path, boot), range(seats)))
    refused = sum(len(one.refused) for one in [alone, *together])
    return Classroom(loader, seats, alone.seconds, max(one.seconds for one in together), refused)
