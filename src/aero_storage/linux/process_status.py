"""State of another process, from /proc."""

from __future__ import annotations

from pathlib import Path


def is_traced(pid: int) -> bool:
    """Return whether a debugger holds the process (`TracerPid` of /proc/PID/status); False without /proc."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    tracers = [line.split()[1] for line in lines if line.startswith("TracerPid:")]
    return tracers not in ([], ["0"])
