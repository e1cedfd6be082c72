"""Hostile requests to both lanes: never a 5xx, a traceback, an answer to what was smuggled, or two answers to one."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager

from torture.fuzzing.differential import Batch, compare_answers
from torture.fuzzing.hostile_connections import MOST_HEADS
from torture.outcome import Outcome, merged_results, sum_of_footprints
from torture.trial import Trial, run_trial

_IMAGE_BYTES = 4096
"""Small, so that ranges that are ignored cost little."""
_MODES = "--express", "--no-express"
_CLIENTS = 4
"""Processes: while one waits for an answer, the daemons have others to answer."""
_SHARE = 1000
_TOLD = 50
"""Shares between two words of how far it is."""
_MOST_COMPLAINTS = 20


@contextmanager
def two_daemons() -> Iterator[list[Trial]]:
    """Run two daemons that must give the same answers: one remembers plans, one does not."""
    with ExitStack() as held:
        yield [held.enter_context(run_trial("--virtual-chunks", mode, size=_IMAGE_BYTES)) for mode in _MODES]


def fuzz(wanted: int, seconds: float, tell: Callable[[str], None], seed: str = "torture") -> Outcome:
    """Fuzz until so many requests were answered, by both daemons together, or so many seconds have passed."""
    deadline = time.monotonic() + seconds
    with two_daemons() as trials:
        before, start = [trial.footprint() for trial in trials], time.monotonic()
        with ExitStack() as with_live_clients:
            for trial in trials:
                with_live_clients.enter_context(trial.with_live_clients(1))
            ports = [trial.daemon.port for trial in trials]
            batches = _shares(ports, wanted, deadline, tell, seed)
        took = time.monotonic() - start
        after = [trial.footprint_after(held) for trial, held in zip(trials, before, strict=True)]
        for trial in trials:
            trial.check_alive()
    statuses = sum((batch.statuses for batch in batches), Counter[int]())
    complaints = [text for batch in batches for text in batch.complaints]
    complaints += (text for trial in trials for text in trial.complaints)
    return Outcome(
        "hostile requests",
        _tried(batches, statuses.total() / took, seed),
        statuses.total(),
        ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items())),
        merged_results([trial.live for trial in trials if trial.live is not None]),
        sum_of_footprints(before),
        sum_of_footprints(after),
        tuple(complaints[:_MOST_COMPLAINTS]),
        seconds=took,
    )


def _tried(batches: Sequence[Batch], rate: float, seed: str) -> str:
    connections, sent = sum(batch.connections for batch in batches), sum(batch.sent for batch in batches)
    what = f"{sent:,} heads, one in four mutated, and smuggling shapes, one by one, cut or up to {MOST_HEADS} at once"
    where = f"on {connections:,} connections, to two daemons whose answers must be the same to the byte"
    return f"{what}, {where}: one with remembered plans, one without; {rate:,.0f} answers a second (seed {seed})"


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
                under_way.add(pool.submit(compare_answers, ports, f"{seed} {number}", share))
                number += 1
                if number % _TOLD == 0:
                    tell(f"{answered:,} of {wanted:,} answered")
            if not under_way:
                return batches
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            batches += (one.result() for one in done)
