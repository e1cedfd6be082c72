"""Handlers of signals: what arrives while they change."""

from __future__ import annotations

import signal
import subprocess
import sys

from aero_storage.linux.signal_handlers import set_signal

FLOOD = """
import os, signal, subprocess, sys, threading
from aero_storage.linux.signal_handlers import set_signal

received = {}
threading.Thread(target=os.read, args=(0, 1)).start()  # the kernel may have this thread run the handler
flood = f"import os\\nwhile os.getppid() == {os.getpid()}: os.kill({os.getpid()}, 15)"
set_signal(signal.SIGTERM, received.__setitem__)
sender = subprocess.Popen([sys.executable, "-c", flood], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
sender.returncode = 0  # nobody waits for it: it ends when it has another parent
for _ in range(600):
    received.clear()
    set_signal(signal.SIGTERM, received.__setitem__)
    while not received:
        pass
    set_signal(signal.SIGTERM, signal.SIG_IGN)
print(flush=True)
"""


def test_ignoring_leaves_no_trace() -> None:
    """Signals that come in a flood while they begin to be ignored, and until the end, leave no trace."""
    pipe, command = subprocess.PIPE, [sys.executable, "-c", FLOOD]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        _, said = process.communicate()  # closes its input, so that the thread ends
    assert (process.returncode, said) == (0, b"")


def test_other_handlers() -> None:
    """Any other handler is set as it is."""
    before = signal.getsignal(signal.SIGUSR2)
    came: list[int] = []
    set_signal(signal.SIGUSR2, lambda number, _frame: came.append(number))
    try:
        signal.raise_signal(signal.SIGUSR2)
    finally:
        set_signal(signal.SIGUSR2, before)
    assert came == [signal.SIGUSR2]
    assert signal.getsignal(signal.SIGUSR2) is before
