"""Workers that are killed and stopped in a loop: no new connection waits for one that does not accept."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from functools import partial

from tests.blackbox.harness import until
from tests.blackbox.raw_http import head
from tests.blackbox.worker_processes import alive, is_serving, worker_pids

from torture.outcome import Outcome
from torture.trial import IMAGE, Trial, run_trial

_CONNECTIONS = 40
_ANSWER_SECONDS = 9.0
"""Other workers accept in place of one that has been silent for 3 seconds; it is killed after 10."""
_REPLACE_SECONDS = 40.0
_REQUEST = head("GET", IMAGE, {"Range": "bytes=0-9"})


def absent_workers(count: int) -> Outcome:
    """Stop one of two workers, then kill the other, and again: each time every new connection is answered in time."""
    slowest = {signal.SIGSTOP: 0.0, signal.SIGKILL: 0.0}
    with run_trial("--workers=2") as trial:
        until(lambda: is_serving(trial.daemon, 1) and is_serving(trial.daemon, 2), 20)
        before = trial.footprint()
        with trial.with_live_clients(forgiving=True) as watch:
            for number in range(count):
                how = (signal.SIGSTOP, signal.SIGKILL)[number % 2]
                slowest[how] = max(slowest[how], _lose(trial, 1 + number // 2 % 2, how))
        after = trial.footprint_after(before)
        trial.check_alive()
    stopped, killed = slowest.values()
    saw = (
        f"{count * _CONNECTIONS} new connections answered, the last {stopped:.1f} s after a stop and {killed:.1f} s "
        f"after a kill; live clients lost {watch.lost} connections"
    )
    return trial.outcome("workers stopped and killed", "of 2 workers, in turn", count, saw, (before, after))


def _lose(trial: Trial, number: int, how: signal.Signals) -> float:
    """Take one worker away; return the seconds until the last of many new connections had its answer."""
    victim = worker_pids(trial.daemon)[number]
    os.kill(victim, how)
    began = time.monotonic()
    with ExitStack() as held:
        conns = [held.enter_context(trial.daemon.dial()) for _ in range(_CONNECTIONS)]
        for conn in conns:
            conn.send(_REQUEST)
        for conn in conns:
            try:
                reply = conn.reply(patience=_ANSWER_SECONDS)
            except (OSError, AssertionError) as error:  # the kernel may have given it to the worker that was killed
                trial.check(how is signal.SIGKILL, f"after {how.name} a new connection got {error!r}")
            else:
                trial.check(reply.body == trial.content.part(0, 10), f"after {how.name} a new connection got {reply}")
    took = time.monotonic() - began
    until(partial(_is_replaced, trial, number, victim), _REPLACE_SECONDS)
    return took


def _is_replaced(trial: Trial, number: int, victim: int) -> bool:
    pid = worker_pids(trial.daemon)[number]
    listens = [
        line for line in trial.daemon.lines() if line["message"] == "listening" and line.get("worker") == number
    ]
    starts = [
        line for line in trial.daemon.lines() if line["message"] == "worker started" and line["child"] == number
    ]
    return pid != victim and alive(pid) and len(listens) >= len(starts)
