"""http.md §12: responses under way when their leases end or are revoked, and what one lease may take."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from tests.blackbox.harness import SHOWS_WITHIN, running, until
from tests.blackbox.leased_root import lease
from tests.blackbox.raw_http import RawConnection, head
from tests.certificates import write_certificate
from tests.lease_tokens import OCT, OKP, key_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.blackbox.harness import Daemon

SIZE = 32 << 20
BUFFER = 32 * 1024
RATE = 1_000_000
COMMAND = Path(sys.executable).parent / "aero-storage"
TCP = ("--endpoint", "tcp:0:interface=127.0.0.1")
ENDPOINTS = {
    "tcp": TCP,
    "tls": ("--endpoint", "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem"),
    "unix": (*TCP, "--endpoint", "unix:socket"),
}


def put_keys(place: Path, *keys: dict[str, object]) -> None:
    """Replace the file of keys."""
    new = place / "new"
    new.write_bytes(key_document(*keys))
    new.chmod(0o600)
    new.replace(place / "keys.json")


@contextmanager
def leasing(place: Path, *flags: str) -> Iterator[Daemon]:
    """Run a daemon with images that no socket takes, of which one is public."""
    (place / "images").mkdir()
    for name in ("secret", "other", "open"):
        with (place / "images" / f"{name}.img").open("wb") as image:
            image.truncate(SIZE)
    entries = [{"id": name, "name": name, "public": name == "open"} for name in ("secret", "other", "open")]
    images = [entry | {"file": f"{entry['id']}.img"} for entry in entries]
    (place / "images" / "manifest.json").write_text(json.dumps({"images": images}))
    put_keys(place, OCT, OKP)
    (place / "revoked.jsonl").write_text("")
    write_certificate(place)
    files = ("--lease-keys-file", "keys.json", "--lease-revocations-file", "revoked.jsonl")
    with running(place, *files, "--shutdown-grace-secs", "0", *flags) as daemon:
        yield daemon


@pytest.fixture
def streams() -> Iterator[ExitStack]:
    """The connections of a test."""
    with ExitStack() as stack:
        yield stack


def dial(daemon: Daemon, kind: str) -> RawConnection:
    """Connect with a small buffer."""
    if kind == "unix":
        return daemon.dial_unix()
    conn = daemon.dial(receive_buffer=BUFFER)
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        conn = RawConnection(cast("socket.socket", context.wrap_socket(conn.sock)))
    return conn


def begin(
    daemon: Daemon, streams: ExitStack, name: str, token: str | None, image: str = "secret", kind: str = "tcp"
) -> RawConnection:
    """Ask for a whole image, with a name in the log, and read no more than the head."""
    conn = streams.enter_context(dial(daemon, kind))
    fields = {"X-Request-Id": name} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    conn.send(head("GET", f"/v1/images/{image}", fields))
    assert conn.reply_head().status == 200
    return conn


def ask(daemon: Daemon, token: str, image: str = "secret", **fields: str) -> int:
    named = {"Authorization": f"Bearer {token}", "Range": "bytes=0-9"} | fields
    return daemon.ask(f"/v1/images/{image}", fields=named).status


def outcomes(daemon: Daemon) -> dict[str, str]:
    """How requests with names have ended so far."""
    lines = (line for line in daemon.lines() if line["message"] == "request complete")
    return {line["request_id"]: line["outcome"] for line in lines}


def reads_on(conn: RawConnection) -> bool:
    """Whether the rest of a response comes."""
    return len(conn.take(SIZE)) == SIZE


def revoke(daemon: Daemon, *what: str) -> None:
    words = [str(COMMAND), "lease", "revoke", "--revocations", str(daemon.home / "revoked.jsonl"), *what]
    subprocess.run(words, check=True, capture_output=True)


@pytest.mark.parametrize("kind", ENDPOINTS)
def test_the_end_of_a_lease(tmp_path: Path, streams: ExitStack, kind: str) -> None:
    """A client that has stopped reading is reset after the grace, and not before; others read to the end."""
    with leasing(tmp_path, "--lease-stream-grace-secs", "1", *ENDPOINTS[kind]) as daemon:
        began = time.time()
        short = begin(daemon, streams, "short", lease(jti="short", exp=int(began) + 2), kind=kind)
        others = [
            begin(daemon, streams, "long", lease(jti="long"), kind=kind),
            begin(daemon, streams, "public", None, "open", kind),
        ]
        until(lambda: "short" in outcomes(daemon), 10)
        assert int(began) + 3 - 0.1 <= time.time() < began + 6
        assert not reads_on(short)
        assert all(map(reads_on, others))
        assert {name: outcomes(daemon).get(name) for name in ("short", "long", "public")} == {
            "short": "lease_expired",
            "long": "complete",
            "public": "complete",
        }


def test_a_fresh_lease(tmp_path: Path, streams: ExitStack) -> None:
    """A client that resumes with a fresh lease gets the rest of the same bytes; the old lease opens nothing."""
    with leasing(tmp_path, "--lease-stream-grace-secs", "0.5", "--lease-leeway-secs", "0") as daemon:
        old = lease(exp=int(time.time()) + 2)
        tag = daemon.ask("/v1/images/secret", "HEAD", {"Authorization": f"Bearer {old}"})["ETag"]
        conn = begin(daemon, streams, "first", old)
        until(lambda: outcomes(daemon).get("first") == "lease_expired", 10)
        assert not reads_on(conn)
        assert ask(daemon, old) == 401
        resumed = {"Authorization": f"Bearer {lease()}", "Range": "bytes=1000000-1000009", "If-Range": tag}
        reply = daemon.ask("/v1/images/secret", fields=resumed)
        assert (reply.status, reply["ETag"]) == (206, tag)


@pytest.mark.parametrize(
    ("what", "workers"),
    [
        (("--jti", "bad"), "2"),
        (("--sub", "eve"), "1"),
        (("--image", "secret"), "1"),
        (("--kid", "ed"), "1"),
    ],
)
def test_a_revocation(tmp_path: Path, streams: ExitStack, what: tuple[str, str], workers: str) -> None:
    """All connections of what is revoked are reset within a second, in all workers; others read to the end."""
    with leasing(tmp_path, "--workers", workers) as daemon:
        both = ["secret", "other"]
        bad, good = (
            lease(both, "ed", jti="bad", sub="eve"),
            lease(both, jti="good", sub="bob", iat=int(time.time()) + 5),
        )
        conns = [begin(daemon, streams, f"bad-{number}", bad) for number in range(6)]
        others = [begin(daemon, streams, "good", good), begin(daemon, streams, "public", None, "open")]
        if what[0] == "--image":
            others.append(begin(daemon, streams, "other", bad, "other"))
        revoke(daemon, *what)
        until(lambda: sum(name.startswith("bad") for name in outcomes(daemon)) == len(conns), SHOWS_WITHIN)
        assert not any(map(reads_on, conns))
        assert all(map(reads_on, others))
        assert {ending for name, ending in outcomes(daemon).items() if name.startswith("bad")} == {"lease_revoked"}
        assert (ask(daemon, bad), ask(daemon, good)) == (401, 206)
        broken = "aero_storage_responses_broken_off_total"
        assert daemon.metrics().value(broken, outcome="lease_revoked") == len(conns)


def test_a_key_that_is_removed(tmp_path: Path, streams: ExitStack) -> None:
    """A key that is taken away stops new requests; a response under way goes on to its end."""
    with leasing(tmp_path) as daemon:
        token = lease()
        conn = begin(daemon, streams, "first", token)
        put_keys(tmp_path, OKP)
        until(lambda: ask(daemon, token) == 401, SHOWS_WITHIN)
        assert reads_on(conn)
        assert outcomes(daemon)["first"] == "complete"


@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_requests_of_one_lease(tmp_path: Path, streams: ExitStack, express: str) -> None:
    """One request more than a lease may have is a 429, which another lease does not get, nor the next request."""
    with leasing(tmp_path, "--max-streams-per-lease", "2", express) as daemon:
        token = lease(jti="one")
        conns = [begin(daemon, streams, f"s-{number}", token) for number in range(2)]
        named = {"Authorization": f"Bearer {token}"}
        for _ in range(2):
            refused, line = daemon.traced("/v1/images/secret", fields=named)
            assert (refused.status, refused["Retry-After"], line["reason"], line["lease"]) == (
                429,
                "1",
                "share",
                "one",
            )
            assert 0 < int(refused["Aero-Lease-Remaining"]) <= 600
        renewed = lease(jti="one", exp=int(time.time()) + 700)
        assert (ask(daemon, renewed), ask(daemon, lease(jti="two"))) == (429, 206)
        assert daemon.ask("/v1/images/secret/meta", fields=named).status == 200
        assert reads_on(conns[0])
        until(lambda: ask(daemon, token) == 206)
        assert [ask(daemon, token) for _ in range(5)] == [206] * 5
        assert daemon.metrics().value("aero_storage_rejections_total", reason="lease_share") >= 3


@pytest.mark.parametrize("kind", ENDPOINTS)
def test_speed_of_one_lease(tmp_path: Path, streams: ExitStack, kind: str) -> None:
    """Two connections of a lease get together what one may, equally; a public image comes as fast as it can."""
    with leasing(tmp_path, "--max-bytes-per-second-per-lease", str(RATE), *ENDPOINTS[kind]) as daemon:
        token, began = lease(jti="one"), time.monotonic()
        conns = [begin(daemon, streams, f"s-{number}", token, kind=kind) for number in range(2)]
        public = begin(daemon, streams, "public", None, "open", kind)
        for conn in conns:
            assert len(conn.take(RATE // 2)) == RATE // 2
        assert 0.7 < time.monotonic() - began < 20  # a busy machine adds to it
        assert reads_on(public)


def test_small_requests_of_one_lease(tmp_path: Path) -> None:
    """Many small requests, one after the other, are no way around the speed of a lease."""
    with leasing(tmp_path, "--max-bytes-per-second-per-lease", str(RATE)) as daemon, daemon.dial() as conn:
        named, began = {"Authorization": f"Bearer {lease(jti='one')}"}, time.monotonic()
        for first in range(0, RATE, 10_000):
            reply = conn.ask("GET", "/v1/images/secret", named | {"Range": f"bytes={first}-{first + 9_999}"})
            assert (reply.status, len(reply.body)) == (206, 10_000)
        assert 0.7 < time.monotonic() - began < 20
