"""Servers that keep `verify` and `doctor` for ever, or feed them without end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

from tests.blackbox.harness import environment
from tests.hostile_server import Server

from torture.outcome import MIB, Outcome

_COMMAND = Path(sys.executable).parent / "aero-storage"
_TIMEOUT = 3
_AT_ONCE = 4
_GRACE = 20.0
"""Seconds over the time limit for the process to start and to end, on a machine that does other things too."""
_MOST_RESIDENT = 192 * MIB
_MEASURED = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Runs a command from a small process: until it executes a program, a child has the memory of its parent."""
_OK = b"HTTP/1.1 200 OK\r\nCache-Control: no-transform\r\n"
_LOOP = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_INTERIM = b"HTTP/1.1 103 Early Hints\r\n\r\n"
_MANIFEST = _OK + b"Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"

SERVERS: dict[str, tuple[bytes, bytes | None, float]] = {
    "says nothing": (b"", b"", 0.02),
    "drips a status line": (b"HTTP/1.1 2", b"0", 0.02),
    "drips a header": (_OK + b"X: ", b"x", 0.02),
    "floods a header": (_OK + b"X: ", b"x" * 65536, 0.0),
    "floods headers": (_OK, b"X: y\r\n" * 4096, 0.0),
    "drips a body": (_OK + b"Content-Length: 1000000\r\n\r\n", b"x", 0.02),
    "floods a body": (_OK + b"\r\n", b"x" * 65536, 0.0),
    "floods keys of a manifest": (_MANIFEST + b'{"a":1', b',"a%":1' * 8192, 0.0),
    "floods values of a manifest": (_MANIFEST + b'{"chunks":[0', b",0" * 16384, 0.0),
    "floods depth of a manifest": (_MANIFEST, b"[" * 65536, 0.0),
    "redirects for ever": (_LOOP, None, 0.0),
    "drips interim responses": (_INTERIM, _INTERIM, 0.02),
    "floods interim responses": (_INTERIM, _INTERIM * 1024, 0.0),
    "says garbage": (os.urandom(1), b"\x00\xff\r\n\x1b[31m" * 64, 0.001),
    "closes": (b"", None, 0.0),
}


def hostile_servers(count: int) -> Outcome:
    """Let both commands meet each server: they end in time, in bounded memory, with a status that says so."""
    complaints: list[str] = []
    longest, largest = 0.0, 0
    names = list(SERVERS)[:count]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        met = pool.map(partial(_meet, complaints), *zip(*product(("verify", "doctor"), names), strict=True))
        for took, resident in met:
            longest, largest = max(longest, took), max(largest, resident)
    saw = f"each command ended, after {longest:.1f} s at the most, with {largest / MIB:.0f} MiB at the most"
    kinds = f"servers, met by `verify` and `doctor` with --timeout {_TIMEOUT}"
    return Outcome("hostile servers", kinds, len(names), saw, complaints=tuple(complaints))


def _meet(complaints: list[str], command: str, name: str) -> tuple[float, int]:
    """Run one command against one server; return the seconds that it took and the bytes that it held at most."""
    with Server(*SERVERS[name]) as hostile:
        url = hostile.url if command == "verify" else hostile.url.removesuffix("/manifest.json")
        began = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-I", "-c", _MEASURED, _COMMAND, command, url, "--timeout", str(_TIMEOUT)],
            env=environment(),
            capture_output=True,
            check=False,
        )
    status, kilobytes = map(int, ended.stdout.split()[-2:])
    took, resident = time.monotonic() - began, kilobytes * 1024
    what = f"{command} of a server that {name}"
    if took > _TIMEOUT + _GRACE:
        complaints.append(f"{what} took {took:.0f} s")
    if resident > _MOST_RESIDENT:
        complaints.append(f"{what} took {resident / MIB:.0f} MiB")
    if status == 0:
        complaints.append(f"{what} found nothing wrong")
    if b"Traceback" in ended.stderr or b"\x1b" in ended.stderr:
        complaints.append(f"{what} said {ended.stderr[-600:]!r}")
    return took, resident
