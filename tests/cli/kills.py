"""Kills a command (SIGKILL) as it begins one of its changes: calls that change something, as Python audits them."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.command_output import CommandResult

Command = Callable[..., CommandResult]

_ENDED_BEFORE = 99
CHANGES = frozenset({"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "time.sleep"})


def is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    return event in CHANGES or (event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & os.O_CREAT))


def at_change(step: int, act: Callable[[], None]) -> Iterator[int]:
    """Have this process act as it begins its change number `step`; return the counter of changes, the next first."""
    changes = itertools.count(1)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if is_change(event, arguments) and next(changes) == step:
            act()

    sys.addaudithook(hook)
    return changes


def interrupted_at(step: int, run: Command, words: Sequence[str | Path]) -> int | None:
    """Run a command in a child that gets Ctrl-C at its change number `step`; return its status, None without one."""
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return None if status == _ENDED_BEFORE else status

    def interrupt() -> None:
        raise KeyboardInterrupt

    changes = at_change(step, interrupt)
    status = run(*words).status
    os._exit(status if next(changes) > step else _ENDED_BEFORE)


def killed_at(step: int, run: Command, words: Sequence[str | Path]) -> bool:
    """Run a command in a child that is killed as it begins its change number `step`; return whether it was."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    at_change(step, lambda: os.kill(os.getpid(), signal.SIGKILL))
    run(*words)
    os._exit(0)
