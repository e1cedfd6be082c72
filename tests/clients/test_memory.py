"""A 30 GiB image and many slow readers: right bytes, little memory."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GIB = 2**30
SIZE = 30 * GIB
# Where bytes are written: the edges of what 31, 32 and 33 bits can count, and the ends of the image.
MARKS = [0, 2 * GIB - 11, 4 * GIB - 11, 4 * GIB + 4096, 8 * GIB - 11, 20 * GIB + 7, SIZE - 64]
STREAMS = 64
SIPS = 100
SIP = 16 * 1024
MOST_KIB = 120 * 1024


@pytest.fixture(scope="module")
def big_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("big") / "big.img"
    with path.open("wb") as image:
        image.truncate(SIZE)
        for mark in MARKS:
            image.seek(mark)
            image.write(f"<{mark}>".encode().ljust(64, b"#"))
    assert path.stat().st_size == SIZE
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def big_daemon(start_daemon: Callable[..., tuple[str, int, Path]], big_image: Path) -> tuple[str, int]:
    url, process_id, _ = start_daemon(big_image.parent)
    return urlsplit(url).netloc, process_id


def ranges() -> list[tuple[int, int]]:
    """Choose (first, last) pairs: around every mark, and at random, the same ones in each run."""
    rng = random.Random(30)
    around = [(max(0, mark - 100), min(SIZE - 1, mark + 100)) for mark in MARKS]
    lengths = [1, 512, 4096, 65_536, 1_048_576]
    starts = [rng.randrange(SIZE - lengths[-1]) for _ in range(40)]
    return around + [(start, start + rng.choice(lengths) - 1) for start in starts]


def test_ranges_past_four_gib_are_right(big_daemon: tuple[str, int], big_image: Path) -> None:
    """Ranges anywhere in a 30 GiB image hold the file's bytes, with an exact Content-Range."""
    descriptor = os.open(big_image, os.O_RDONLY)
    connection = http.client.HTTPConnection(big_daemon[0], timeout=10)
    try:
        for first, last in ranges():
            connection.request("GET", "/v1/images/big.img", headers={"Range": f"bytes={first}-{last}"})
            with connection.getresponse() as response:
                body = response.read()
            assert (response.status, response.headers["Content-Range"]) == (206, f"bytes {first}-{last}/{SIZE}")
            assert body == os.pread(descriptor, last - first + 1, first), f"bytes {first}-{last}"
    finally:
        connection.close()
        os.close(descriptor)


def resident_kib(process_id: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{process_id}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def open_stream(address: str) -> socket.socket:
    """Ask for the whole image over a socket that takes in little at a time, and read the response's head."""
    host, _, port = address.partition(":")
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SIP)
    stream.settimeout(10)
    stream.connect((host, int(port)))
    stream.sendall(b"GET /v1/images/big.img HTTP/1.1\r\nHost: x\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += stream.recv(1)
    assert head.startswith(b"HTTP/1.1 200 "), head
    return stream


def sip_in_turn(streams: list[socket.socket], sips: int, process_id: int) -> tuple[list[int], int]:
    """Take so many sips of every stream, one of each at a time; return the bytes had and the daemon's peak in KiB."""
    had, peak = [0] * len(streams), 0
    for _ in range(sips):
        for number, stream in enumerate(streams):
            had[number] += len(stream.recv(SIP))
        peak = max(peak, resident_kib(process_id))
    return had, peak


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads VmRSS from Linux's /proc")
def test_slow_streams_take_little_memory(big_daemon: tuple[str, int]) -> None:
    """64 readers that sip in turn from 30 GiB each all get on, and leave the daemon under 120 MiB."""
    address, process_id = big_daemon
    with contextlib.ExitStack() as open_streams:
        streams = [open_streams.enter_context(open_stream(address)) for _ in range(STREAMS)]
        had, peak = sip_in_turn(streams, SIPS, process_id)
    assert min(had) > 10 * 1024
    assert peak < MOST_KIB, f"{peak} KiB resident with {STREAMS} slow streams"
