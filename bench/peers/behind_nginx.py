"""nginx, and behind it the daemon at a UNIX socket: both run until this process is told to stop, or one of them ends.

Arguments: the command line of nginx, `--`, that of the daemon.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

_STOP_SECONDS = 4.0


def main(arguments: Sequence[str]) -> int:
    """Run both; 0 after SIGTERM, 1 if one of them has ended by itself."""
    middle = arguments.index("--")
    ended, asked = threading.Event(), threading.Event()

    def stop(*_signal: object) -> None:
        asked.set()
        ended.set()

    signal.signal(signal.SIGTERM, stop)
    children = [subprocess.Popen(command) for command in (arguments[middle + 1 :], arguments[:middle])]
    for child in children:
        threading.Thread(target=_watch, args=(child, ended), daemon=True).start()
    while not ended.wait(1.0):
        pass
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
    return 0 if asked.is_set() else 1


def _watch(child: subprocess.Popen[bytes], ended: threading.Event) -> None:
    child.wait()
    ended.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
