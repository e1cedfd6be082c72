"""Hostile requests to both lanes: never a 5xx, a traceback, an answer to what was smuggled, or two answers to one."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager

from torture.hammer import Batch, hammer
from torture.outcome import Outcome, together, worst
from torture.stage import Stage, stage
from torture.volleys import MOST_HEADS

_IMAGE_BYTES = 4096
"""Small, so that ranges that are ignored cost little."""
_LANES = "--express", "--no-express"
_CLIENTS = 4
"""Processes: while one waits for an answer, the daemons have others to answer."""
_SHARE = 1000
_TOLD = 50
"""Shares between two words of how far it is."""
_MOST_COMPLAINTS = 20


@contextmanager
def both_lanes() -> Iterator[list[Stage]]:
    """Run two daemons that must give the same answers: one takes the express lane where it can, one never."""
    with ExitStack() as held:
        yield [held.enter_context(stage("--virtual-chunks", lane, size=_IMAGE_BYTES)) for lane in _LANES]


def fuzz(wanted: int, seconds: float, tell: Callable[[str], None], seed: str = "torture") -> Outcome:
    """Fuzz until so many requests were answered, by both daemons together, or so many seconds have passed."""
    deadline = time.monotonic() + seconds
    with both_lanes() as scenes:
        before, start = [scene.footprint() for scene in scenes], time.monotonic()
        with ExitStack() as watched:
            for scene in scenes:
                watched.enter_context(scene.watched(1))
            ports = [scene.daemon.port for scene in scenes]
            batches = _shares(ports, wanted, deadline, tell, seed)
        took = time.monotonic() - start
        after = [scene.settled(held) for scene, held in zip(scenes, before, strict=True)]
        for scene in scenes:
            scene.sound()
    statuses = sum((batch.statuses for batch in batches), Counter[int]())
    complaints = [text for batch in batches for text in batch.complaints]
    complaints += (text for scene in scenes for text in scene.complaints)
    return Outcome(
        "hostile requests",
        _tried(batches, statuses.total() / took, seed),
        statuses.total(),
        ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items())),
        worst([scene.healthy for scene in scenes if scene.healthy is not None]),
        together(before),
        together(after),
        tuple(complaints[:_MOST_COMPLAINTS]),
        seconds=took,
    )


def _tried(batches: Sequence[Batch], rate: float, seed: str) -> str:
    connections, sent = sum(batch.connections for batch in batches), sum(batch.sent for batch in batches)
    what = f"{sent:,} heads, one in four mutated, and smuggling shapes, one by one, cut or up to {MOST_HEADS} at once"
    where = f"on {connections:,} connections, to two daemons whose answers must be the same to the byte"
    return f"{what}, {where}: one with the express lane, one without; {rate:,.0f} answers a second (seed {seed})"


def _shares(
    ports: Sequence[int], wanted: int, deadline: float, tell: Callable[[str], None], seed: str
) -> list[Batch]:
    """Give shares to clients until there are enough answers, there is no time left, or enough is wrong."""
    share, batches, number, under_way = min(_SHARE, -(-wanted // _CLIENTS)), list[Batch](), 0, set[Future[Batch]]()
    with ProcessPoolExecutor(_CLIENTS, multiprocessing.get_context("spawn")) as pool:
        while True:
            answered = sum(batch.statuses.total() for batch in batches)
            wrong = sum(len(batch.complaints) for batch in batches)
            goes_on = time.monotonic() < deadline and wrong < _MOST_COMPLAINTS
            while goes_on and len(under_way) < _CLIENTS and answered + share * len(under_way) < wanted:
                under_way.add(pool.submit(hammer, ports, f"{seed} {number}", share))
                number += 1
                if number % _TOLD == 0:
                    tell(f"{answered:,} of {wanted:,} answered")
            if not under_way:
                return batches
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            batches += (one.result() for one in done)
