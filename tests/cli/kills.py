"""Kills a command (SIGKILL) as it begins one of its changes: calls that change something, as Python audits them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.command_output import CommandResult

Command = Callable[..., CommandResult]

_ENDED_BEFORE = 99
CHANGES = frozenset({"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "time.sleep"})


def is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    return event in CHANGES or (event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & os.O_CREAT))


def interrupted_at(step: int, run: Command, words: Sequence[str | Path]) -> int | None:
    """Run a command in a child that gets Ctrl-C at its change number `step`; return its status, None without one."""
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return None if status == _ENDED_BEFORE else status
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if is_change(event, arguments):
            count += 1
            if count == step:
                raise KeyboardInterrupt

    sys.addaudithook(hook)
    status = run(*words).status
    os._exit(status if count >= step else _ENDED_BEFORE)


def killed_at(step: int, run: Command, words: Sequence[str | Path]) -> bool:
    """Run a command in a child that is killed as it begins its change number `step`; return whether it was."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if is_change(event, arguments):
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    run(*words)
    os._exit(0)
