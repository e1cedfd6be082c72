"""What misbehaving clients of the soak do: attackers, broken clients, stalled ones. Each function is one act."""

from __future__ import annotations

import os
import string
import time
from collections.abc import Callable
from pathlib import Path

from tests.blackbox.raw_http import RawConnection, head

from torture.fuzzing.differential import compare_answers
from torture.outcome import MIB
from torture.soak.client import IDLE_SECONDS, SoakClient, whole
from torture.soak.requests import IMAGE, IMAGE_FILE

HEADER_SECONDS, STALL_SECONDS = 5, 8
"""Time limits of the daemon, shortened, so that many clients run into them."""
_GRACE = 12.0
"""A limit may be noticed so much later on a busy machine."""
_SMALL_BUFFER = 4096
_HAMMERED = 40
_REFUSED: tuple[tuple[int, str, str, tuple[tuple[str, str], ...]], ...] = (
    (404, "GET", "/nowhere", ()),
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


def refused(client: SoakClient) -> None:
    """Ask for what is not to be had."""
    status, method, target, fields = client.rng.choice(_REFUSED)
    client.ask(status, method, target, fields)


def fatal(client: SoakClient) -> None:
    """Send a head after which the server closes."""
    status, text = client.rng.choice(_FATAL)
    with client.dial() as conn:
        conn.send(text)
        whole(conn.reply(), status, f"{text[:80]!r}")
        assert conn.rest() == b"", "there is something behind the response"


def hostile_heads(client: SoakClient) -> None:
    """Send mutated heads and smuggling shapes; one of their targets is /readyz (see `readiness`)."""
    since = time.monotonic()
    batch = compare_answers((client.target.plain,), str(client.rng.random()), _HAMMERED)
    missed = batch.statuses[503] and client.target.changing.removed_since(since)
    assert not batch.complaints or missed, batch.complaints[0]


def unknown_names(client: SoakClient) -> None:
    """Ask for what nobody has asked for before: a name, a tag, a user, an id of their own each time."""
    name = "".join(client.rng.choices(string.ascii_letters, k=client.rng.randint(5, 120)))
    fields = {"X-Request-Id": name, "X-Aero-User-Id": name, "Origin": f"https://{name}.test", "If-Range": f'"{name}"'}
    target, status = client.rng.choice((
        (f"/v1/images/{name}", 404),
        (f"/v1/images/{name}/meta", 404),
        (f"{IMAGE}/chunked/{name}/chunks/{name}.bin", 404),
        (f"{IMAGE}/chunked/chunks/{name}.bin", 404),
        (f"/{name}", 404),
        (f"{IMAGE}/meta?{name}", 200),
        (f"/healthz?{name}", 200),
    ))  # fmt: skip
    client.ask(status, "GET", target, fields if client.rng.random() < 0.5 else {})


def partial_head(client: SoakClient) -> None:
    """Begin a head, and go, or wait until the server has had enough."""
    text = head("GET", IMAGE, {"Range": "bytes=0-9"})
    with client.dial() as conn:
        conn.send(text[: client.rng.randrange(1, len(text) - 1)])
        what = client.rng.random()
        if what < 0.4:
            conn.reset()
        elif what > 0.8 and client.hears(conn, HEADER_SECONDS + _GRACE):
            whole(conn.reply(), 408, "half a head")


def stall_and_resume(client: SoakClient) -> None:
    """Stop reading for a while, and then go on to the end."""
    image = client.target.image
    length = client.rng.randint(MIB, 8 * MIB)
    offset = client.rng.randrange(image.size - length)
    with client.dial(_SMALL_BUFFER * 16) as conn:
        _begin(conn, offset, length)
        if not client.over.wait(client.rng.uniform(0, STALL_SECONDS / 2)):
            client.read(conn, offset, length, MIB // 4)


def stall_for_good(client: SoakClient) -> None:
    """Stop reading for good: the server breaks off in time."""
    image = client.target.image
    with client.dial(_SMALL_BUFFER) as conn:
        if client.rng.random() < 0.5:
            conn.send(head("GET", IMAGE))
        else:
            length = 8 * MIB
            _begin(conn, client.rng.randrange(image.size - length), length)
        client.reset(conn.sock, STALL_SECONDS + _GRACE)


def _begin(conn: RawConnection, offset: int, length: int) -> None:
    conn.send(head("GET", IMAGE, {"Range": f"bytes={offset}-{offset + length - 1}"}))
    start = conn.reply_head()
    assert (start.status, start.length) == (206, length), start


def idle(client: SoakClient) -> None:
    """Keep a connection and ask for nothing, until the server closes or a while has passed."""
    with client.dial() as conn:
        if client.rng.random() < 0.8:
            conn.ask("HEAD", IMAGE)
        if client.rng.random() < 0.5:
            client.over.wait(client.rng.uniform(0, IDLE_SECONDS / 2))
            return
        if client.hears(conn, IDLE_SECONDS + HEADER_SECONDS + _GRACE):
            assert conn.rest() == b"", "something that nobody has asked for"


def evict(client: SoakClient) -> None:
    """Take the image out of the page cache, so that what comes next waits for the disk."""
    file = os.open(Path(client.target.changing.root) / IMAGE_FILE, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


MISBEHAVING: tuple[tuple[Callable[[SoakClient], None], float, int, int], ...] = (
    (refused, 0.3, 1, 1),
    (fatal, 0.5, 1, 1),
    (hostile_heads, 1.0, 1, 0),
    (unknown_names, 0.2, 1, 1),
    (partial_head, 0.3, 2, 1),
    (stall_and_resume, 1.0, 1, 1),
    (stall_for_good, 1.0, 2, 1),
    (idle, 0.5, 3, 2),
    (evict, 5.0, 1, 0),
)
"""As WELL_BEHAVED."""
