"""What the kernel says about processes and pages: CPU time, memory, disk reads, residency."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = mmap.PAGESIZE
_LIBC = ctypes.CDLL(None, use_errno=True)


@attrs.frozen
class Usage:
    """Sums over a process and its descendants: CPU seconds, bytes resident, bytes read from a disk."""

    cpu: float
    rss: int
    pss: int
    disk_read: int


def parse_stat(text: str) -> tuple[int, float]:
    """Parent and CPU seconds of a process, with those of its children that ended, from /proc/PID/stat."""
    fields = text.rpartition(")")[2].split()  # what stands before may hold blanks and brackets
    return int(fields[1]), sum(int(ticks) for ticks in fields[11:15]) / _TICKS


def parse_amount(text: str, name: str) -> int:
    """The number of a `Name: 12 kB` or `name: 12` line, in bytes; 0 where there is no such line."""
    found = re.search(rf"^{name}:\s+(\d+)( kB)?$", text, re.MULTILINE)
    return int(found[1]) * (1024 if found[2] else 1) if found else 0


def usage(pid: int) -> Usage:
    """What a process and all its descendants use now."""
    parents = dict(_parents())
    members = [pid, *_descendants(pid, parents)]
    texts = [[_read(one, name) for name in ("stat", "smaps_rollup", "io")] for one in members]
    return Usage(
        sum(parse_stat(stat)[1] for stat, _, _ in texts if stat),
        sum(parse_amount(memory, "Rss") for _, memory, _ in texts),
        sum(parse_amount(memory, "Pss") for _, memory, _ in texts),
        sum(parse_amount(io, "read_bytes") for _, _, io in texts),
    )


def parse_busy(text: str, cores: str) -> float:
    """CPU seconds used on some cores (`0,1`) so far, and those that a hypervisor took, from /proc/stat."""
    names = {f"cpu{core}" for core in cores.split(",")}
    rows = [line.split()[1:9] for line in text.splitlines() if line.partition(" ")[0] in names]
    idle_and_waiting = (3, 4)
    return sum(int(row[at]) for row in rows for at in range(8) if at not in idle_and_waiting) / _TICKS


def busy(cores: str) -> float:
    """CPU seconds that all programs have used so far on some cores."""
    return parse_busy(Path("/proc/stat").read_text(encoding="ascii"), cores)


def kernel_socket_bytes() -> int:
    """Memory in TCP buffers, of the whole machine."""
    text = Path("/proc/net/sockstat").read_text(encoding="ascii")
    found = re.search(r"^TCP:.* mem (\d+)$", text, re.MULTILINE)
    return int(found[1]) * _PAGE if found else 0


def resident_share(descriptor: int, offset: int, length: int) -> float:
    """The share of the pages of a part of a file that are in the page cache; `offset` is a multiple of the page size.

    Asks mincore(2): to ask with RWF_NOWAIT starts a read of what is missing.
    """
    pages = -(-length // _PAGE)
    states = (ctypes.c_ubyte * pages)()
    # ACCESS_COPY only because ctypes takes no address of read-only memory; nothing is written, so nothing is copied.
    with mmap.mmap(descriptor, length, access=mmap.ACCESS_COPY, offset=offset) as mapped:
        view = ctypes.c_char.from_buffer(mapped)
        failed = _LIBC.mincore(ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(length), states)
        del view  # the mapping cannot be closed while it is looked at
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(state & 1 for state in states) / pages


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _read(int(entry.name), "stat")):
            yield int(entry.name), parse_stat(stat)[0]


def _descendants(pid: int, parents: dict[int, int]) -> Iterator[int]:
    for child, parent in parents.items():
        if parent == pid:
            yield child
            yield from _descendants(child, parents)


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has ended meanwhile
