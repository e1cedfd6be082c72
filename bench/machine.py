"""What the figures were measured on, and whether they can be measured here."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import attrs

from bench.servers import SYSTEM_PATH

_PROGRAMS = {"nginx": "nginx-light", "caddy": "caddy", "wrk": "wrk", "taskset": "util-linux"}
_PACKAGES = ("aero-storage", "Twisted", "klein", "aiohttp", "uvloop", "starlette", "uvicorn", "httptools")
_ROOT = Path(__file__).parents[1]


@attrs.frozen
class Cores:
    """What `taskset -c` is given for the server alone, the load alone, and both."""

    server: str
    load: str
    both: str


def missing_packages() -> list[str]:
    """Debian packages whose programs are not here."""
    return [package for program, package in _PROGRAMS.items() if not shutil.which(program, path=SYSTEM_PATH)]


def choose_cores(available: set[int], siblings: dict[int, set[int]]) -> Cores:
    """Two cores that share no execution units, if there are such; a single one has to do for both."""
    first, *others = sorted(available)
    apart = [core for core in others if core not in siblings.get(first, set())]
    second = (apart or others or [first])[0]
    return Cores(str(first), str(second), f"{first},{second}" if second != first else str(first))


def parse_cpu_list(text: str) -> set[int]:
    """The numbers in a list such as `0-1,4`."""
    bounds = [part.split("-") for part in text.strip().split(",")]
    return {number for pair in bounds for number in range(int(pair[0]), int(pair[-1]) + 1)}


def our_cores() -> Cores:
    """The cores to use, of those that we may use."""
    available = os.sched_getaffinity(0)
    return choose_cores(available, {core: _siblings(core) for core in available})


def facts(scratch: Path) -> dict[str, str]:
    """The machine and all versions, as the report names them."""
    return {
        "CPU": _first(r"^model name\s*: (.*)$", "/proc/cpuinfo"),
        "Cores": str(os.cpu_count()),
        "Memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB",
        "Kernel": platform.release(),
        "System": _first(r'^PRETTY_NAME="?([^"\n]*)', "/etc/os-release"),
        "File system": _said("findmnt", "-no", "FSTYPE", "-T", str(scratch)),
        "Commit": _commit(),
        "Python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "nginx": _said("nginx", "-v").rpartition("/")[2],
        "Caddy": _said("caddy", "version"),
        "wrk": _said("wrk", "-v").removeprefix("wrk ").split(" ")[0],
    }


def _commit() -> str:
    return (
        _said("git", "-C", str(_ROOT), "describe", "--always", "--dirty") if (_ROOT / ".git").exists() else "unknown"
    )


def _siblings(core: int) -> set[int]:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return parse_cpu_list(path.read_text(encoding="ascii")) if path.exists() else set()


def _first(pattern: str, path: str) -> str:
    found = re.search(pattern, Path(path).read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "unknown"


def _said(program: str, *arguments: str) -> str:
    """What a program says of itself; wrk ends with status 1 when asked, nginx answers on standard error."""
    found = shutil.which(program, path=SYSTEM_PATH)
    if not found:
        return "unknown"
    done = subprocess.run(
        [found, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout.partition("\n")[0].strip()
