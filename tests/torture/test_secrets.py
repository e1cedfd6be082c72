"""A token is sent in all kinds of places; the log never shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import small_root
from tests.blackbox.raw_http import RawConnection, head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.blackbox.harness import Daemon

TOKEN = "zq-s3cret.token~of-the-operator"
BEARER = f"Bearer {TOKEN}"
TARGETS = ("/metrics", "/v1/images/disk", "/v1/images", "/nothing", "/v1/images/%00", "/v1/images/disk/chunked/x")
FIELDS = (
    ("Authorization", BEARER),
    ("Authorization", f"Basic {TOKEN}"),
    ("Authorization", f"{BEARER}x"),
    ("Proxy-Authorization", BEARER),
    ("Cookie", f"token={TOKEN}"),
    ("Referer", f"http://a.test/?{TOKEN}"),
    ("Origin", f"http://{TOKEN}.test"),
    ("Range", f"bytes={TOKEN}"),
    ("If-Range", f'"{TOKEN}"'),
    ("If-None-Match", f'"{TOKEN}"'),
    ("If-Modified-Since", TOKEN),
    ("Transfer-Encoding", TOKEN),
    ("Content-Length", TOKEN),
    ("Expect", TOKEN),
    ("TE", TOKEN),
    (TOKEN, "x"),
)
RAW = (
    head("GET", "/metrics", {"Authorization": BEARER}, version="HTTP/9.9"),
    head("GET", "/metrics", {"Authorization": BEARER}, host=None),
    head("GET", f"/metrics?token={TOKEN}"),
    head("GET", f"/v1/images/disk?access_token={TOKEN}"),
    head("GET", "/metrics", {"Authorization": BEARER + "\x00"}),
    head("GET", "/metrics", {"Authorization": BEARER + "x" * 70_000}),
    head("GET", "/metrics", {"Authorization ": BEARER}),
    f"Authorization: {BEARER}\r\n\r\n".encode(),
    f"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer\r\n {TOKEN}\r\n\r\n".encode(),
)


def answered(daemon: Daemon, text: bytes) -> int | None:
    """Send it on a connection of its own; the status of what comes, None if nothing does."""
    with RawConnection.dial(daemon.port) as conn:
        return conn.status(text)


def test_token_in_all_places(tmp_path: Path) -> None:
    """In fields of all names, well formed or not, in the query, by either lane: never in the log, at any level."""
    small_root(tmp_path / "images")
    (tmp_path / "token").write_text(TOKEN, encoding="ascii")
    with running(tmp_path, "--log-level=debug", f"--metrics-auth-token-file={tmp_path / 'token'}") as daemon:
        assert answered(daemon, head("GET", "/metrics", {"Authorization": BEARER})) == 200
        assert answered(daemon, head("GET", "/metrics", {"Authorization": f"{BEARER}x"})) == 403
        asked = [head("GET", target, (field,)) for target in TARGETS for field in FIELDS]
        statuses = [answered(daemon, text) for text in (*asked, *RAW)]
        assert {200, 400, 401, 403, 404} <= set(statuses)
        daemon.traced("/healthz")
        until(lambda: len(daemon.lines()) > len(asked))
    assert TOKEN not in daemon.said()
