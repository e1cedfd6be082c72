"""A Python that has loaded what a daemon needs, and forks for each that is to start.

Most of a daemon's start is the loading of modules: a second of CPU, some thousand times in a run of all tests. What
runs here is `twistd` itself, in a process of its own, with arguments, environment and descriptors of its own; the
loading alone is shared. `preloaded_process` has the other end.

    python preloaded_twistd.py SOCKET

Each message at the descriptor SOCKET is JSON; that of a start comes with two descriptors, its output.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import signal
import socket
import sys
import threading
from pathlib import Path
from types import ModuleType

MODULES = (
    "twisted.scripts.twistd",
    "aero_storage.service.tap",
    "aero_storage.service.daemon",
    "aero_storage.service.composition",
)
REACTOR = "twisted.internet.reactor"
_MOST = 256 * 1024
_ended: dict[int, int] = {}
"""The exit statuses that the system has told, which it does once."""


def main(control: socket.socket) -> None:
    """Load the modules, then answer until the other end closes; in each daemon return, to run it."""
    sys.modules[REACTOR] = no_reactor = ModuleType(REACTOR)  # one has descriptors, which cannot be shared
    for name in MODULES:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a thread is not forked"
    gc.collect()
    gc.freeze()
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, _MOST, 2)
        if not data:
            os._exit(0)
        message = json.loads(data)
        if "ended" in message:
            _answer(control, message, _status_of(message["ended"]))
            continue
        process_id = os.fork()
        _ended.pop(process_id, None)  # numbers come again
        if not process_id:
            signal.signal(signal.SIGINT, interrupted)
            control.close()
            _become(message, descriptors)
            _install_reactor(no_reactor)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        _answer(control, message, process_id)


def _answer(control: socket.socket, message: dict[str, object], found: int | None) -> None:
    control.send(json.dumps({"number": message["number"], "found": found}).encode())


def _status_of(process_id: int) -> int | None:
    if process_id not in _ended:
        found, status = os.waitpid(process_id, os.WNOHANG)
        if found:
            _ended[process_id] = os.waitstatus_to_exitcode(status)
    return _ended.get(process_id)


def _become(message: dict[str, object], descriptors: list[int]) -> None:
    """Be as a process that was started so."""
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(str(message["cwd"]))
    os.environ.clear()
    os.environ.update(message["env"])  # type: ignore[call-overload]
    sys.argv = list(message["argv"])  # type: ignore[call-overload]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    random.seed()
    importlib.import_module("aero_storage.delivery.facts")._random.seed()  # noqa: SLF001 - seeded when it is imported


def _install_reactor(no_reactor: ModuleType) -> None:
    """Install the reactor for all that have the empty module in its place."""
    del sys.modules[REACTOR]
    reactor = importlib.import_module(REACTOR)
    for module in tuple(sys.modules.values()):
        if getattr(module, "reactor", None) is no_reactor:
            module.reactor = reactor  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
    from twisted.scripts.twistd import run

    sys.exit(run())
