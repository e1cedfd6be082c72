"""What clients of the soak do that mean no good, are broken, or have gone to lunch."""

from __future__ import annotations

import os
import string
import time
from collections.abc import Callable
from pathlib import Path

from bench.data import HOT
from bench.soak_asks import IMAGE
from tests.blackbox.wire import Wire, head

from torture.hammer import hammer
from torture.outcome import MIB
from torture.soak.seat import IDLE_SECONDS, Seat, whole

HEADER_SECONDS, STALL_SECONDS = 5, 8
"""Time limits of the daemon, shortened, so that many clients run into them."""
_GRACE = 12.0
"""A limit may be noticed so much later on a busy machine."""
_SMALL_BUFFER = 4096
_HAMMERED = 40
_REFUSED: tuple[tuple[int, str, str, tuple[tuple[str, str], ...]], ...] = (
    (404, "GET", "/", ()),
    (404, "GET", "/v1/images/%2e%2e%2fetc%2fpasswd", ()),
    (404, "GET", f"{IMAGE}/chunked/v/chunks/0.bin", ()),
    (405, "PUT", IMAGE, ()),
    (412, "GET", IMAGE, (("If-Match", '"x"'),)),
    (413, "GET", IMAGE, (("Range", "bytes=0-8388608"),)),
    (413, "GET", IMAGE, (("Range", "bytes=" + "0-0," * 1001),)),
    (416, "GET", IMAGE, (("Range", "bytes=5-2"),)),
    (416, "GET", IMAGE, (("Range", "bytes=0-0,2-2"),)),
    (416, "GET", IMAGE, (("Range", "bytes=99999999999-"),)),
)
"""The connection outlives them."""
_FATAL = (
    (400, head("GET", IMAGE, {"Connection": "close"}, host="a b")),
    (400, head("GET", IMAGE, {"Connection": "close"}, host=None)),
    (400, b"GET\r\n\r\n"),
    (413, head("GET", IMAGE, {"Content-Length": "5"})),
    (414, head("GET", f"/{'x' * 70_000}")),
    (431, head("GET", IMAGE, {"X-Long": "x" * 70_000})),
)
"""It does not outlive these."""


def refused(seat: Seat) -> None:
    """Ask for what is not to be had."""
    status, method, target, fields = seat.chance.choice(_REFUSED)
    seat.ask(status, method, target, fields)


def fatal(seat: Seat) -> None:
    """Send a head after which the server closes."""
    status, text = seat.chance.choice(_FATAL)
    with seat.dial() as wire:
        wire.send(text)
        whole(wire.reply(), status, f"{text[:80]!r}")
        assert wire.rest() == b"", "there is something behind the response"


def hostile(seat: Seat) -> None:
    """Send mutated heads and smuggling shapes; one of their targets is /readyz (see `readiness`)."""
    since = time.monotonic()
    batch = hammer((seat.place.plain,), str(seat.chance.random()), _HAMMERED)
    missed = batch.statuses[503] and seat.place.shelf.removed_since(since)
    assert not batch.complaints or missed, batch.complaints[0]


def strange(seat: Seat) -> None:
    """Ask for what nobody has asked for before: a name, a tag, a user, an id of their own each time."""
    name = "".join(seat.chance.choices(string.ascii_letters, k=seat.chance.randint(5, 120)))
    fields = {"X-Request-Id": name, "X-Aero-User-Id": name, "Origin": f"https://{name}.test", "If-Range": f'"{name}"'}
    target, status = seat.chance.choice((
        (f"/v1/images/{name}", 404),
        (f"/v1/images/{name}/meta", 404),
        (f"{IMAGE}/chunked/{name}/chunks/{name}.bin", 404),
        (f"{IMAGE}/chunked/chunks/{name}.bin", 404),
        (f"/{name}", 404),
        (f"{IMAGE}/meta?{name}", 200),
        (f"/healthz?{name}", 200),
    ))  # fmt: skip
    seat.ask(status, "GET", target, fields if seat.chance.random() < 0.5 else {})


def half_head(seat: Seat) -> None:
    """Begin a head, and go, or wait until the server has had enough."""
    text = head("GET", IMAGE, {"Range": "bytes=0-9"})
    with seat.dial() as wire:
        wire.send(text[: seat.chance.randrange(1, len(text) - 1)])
        what = seat.chance.random()
        if what < 0.4:
            wire.reset()
        elif what > 0.8 and seat.hears(wire, HEADER_SECONDS + _GRACE):
            whole(wire.reply(), 408, "half a head")


def lunch(seat: Seat) -> None:
    """Stop reading for a while, and then go on to the end."""
    site = seat.place.site
    length = seat.chance.randint(MIB, 8 * MIB)
    offset = seat.chance.randrange(site.size - length)
    with seat.dial(_SMALL_BUFFER * 16) as wire:
        _begin(wire, offset, length)
        if not seat.over.wait(seat.chance.uniform(0, STALL_SECONDS / 2)):
            seat.read(wire, offset, length, MIB // 4)


def asleep(seat: Seat) -> None:
    """Stop reading for good: the server breaks off in time."""
    site = seat.place.site
    with seat.dial(_SMALL_BUFFER) as wire:
        if seat.chance.random() < 0.5:
            wire.send(head("GET", IMAGE))
        else:
            length = 8 * MIB
            _begin(wire, seat.chance.randrange(site.size - length), length)
        seat.reset(wire.sock, STALL_SECONDS + _GRACE)


def _begin(wire: Wire, offset: int, length: int) -> None:
    wire.send(head("GET", IMAGE, {"Range": f"bytes={offset}-{offset + length - 1}"}))
    start = wire.reply_head()
    assert (start.status, start.length) == (206, length), start


def idle(seat: Seat) -> None:
    """Keep a connection and ask for nothing, until the server closes or a while has passed."""
    with seat.dial() as wire:
        if seat.chance.random() < 0.8:
            wire.ask("HEAD", IMAGE)
        if seat.chance.random() < 0.5:
            seat.over.wait(seat.chance.uniform(0, IDLE_SECONDS / 2))
            return
        if seat.hears(wire, IDLE_SECONDS + HEADER_SECONDS + _GRACE):
            assert wire.rest() == b"", "something that nobody has asked for"


def evict(seat: Seat) -> None:
    """Take the image out of the page cache, so that what comes next waits for the disk."""
    file = os.open(Path(seat.place.shelf.root) / HOT, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


ILL_MEANT: tuple[tuple[Callable[[Seat], None], float, int, int], ...] = (
    (refused, 0.3, 1, 1),
    (fatal, 0.5, 1, 1),
    (hostile, 1.0, 1, 0),
    (strange, 0.2, 1, 1),
    (half_head, 0.3, 2, 1),
    (lunch, 1.0, 1, 1),
    (asleep, 1.0, 2, 1),
    (idle, 0.5, 3, 2),
    (evict, 5.0, 1, 0),
)
"""As WELL_MEANT."""
