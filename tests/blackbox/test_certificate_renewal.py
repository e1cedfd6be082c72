"""A renewed certificate of an `ssl:` endpoint is taken on SIGHUP, without a restart (docs/how-to/tls.md)."""

from __future__ import annotations

import os
import signal
import ssl
from contextlib import contextmanager
from functools import partial
from socket import create_connection
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import DISK, small_root
from tests.blackbox.raw_http import RawConnection
from tests.blackbox.worker_processes import START_SECONDS, two_workers, wait_for_replacement, worker_pids
from tests.certificates import write_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon, Line

ENDPOINT = "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem"
RELOADS = "aero_storage_certificate_reload_total"
NEW_CONNECTIONS = 8


@contextmanager
def serving(home: Path, workers: int) -> Iterator[Daemon]:
    """Run a daemon with a TLS port, and a plain one first, which the harness asks for metrics."""
    write_certificate(home)
    flags = ("--endpoint", "tcp:0:interface=127.0.0.1", "--endpoint", ENDPOINT)
    if workers > 1:
        with two_workers(home, *flags, addresses=2) as daemon:
            yield daemon
        return
    small_root(home / "images")
    with running(home, *flags) as daemon:
        yield daemon


def tls_port(daemon: Daemon) -> int:
    """The second of the addresses at which the daemon listens."""
    addresses = [line["address"] for line in daemon.lines() if line["message"] == "listening"]
    return int(dict.fromkeys(addresses).popitem()[0].rpartition(":")[2])


def dial(daemon: Daemon) -> ssl.SSLSocket:
    """A new connection, whoever the daemon says it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = create_connection(("127.0.0.1", tls_port(daemon)), START_SECONDS)
    return context.wrap_socket(plain, server_hostname="localhost")


def presented(daemon: Daemon) -> set[str]:
    """The certificates that so many new connections are presented, as PEM; each of them serves."""
    found = set()
    for _ in range(NEW_CONNECTIONS):
        connection = dial(daemon)
        found.add(ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b""))
        with RawConnection(connection) as conn:
            assert conn.ask("GET", "/v1/images/disk").body == DISK
    return found


def presents(daemon: Daemon, pem: str) -> bool:
    return presented(daemon) == {pem}


def lines_about_certificates(daemon: Daemon, since: int) -> list[Line]:
    return [line for line in daemon.lines(since) if str(line["message"]).startswith("certificate ")]


def renew(home: Path) -> str:
    """Put a new pair in place of the old one, by rename; return its certificate."""
    (home / "new").mkdir()
    write_certificate(home / "new")
    for name in ("key.pem", "cert.pem"):
        (home / "new" / name).replace(home / name)
    return (home / "cert.pem").read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_renewed_certificate_is_taken(home: Callable[[str], Path], workers: int) -> None:
    """After SIGHUP new connections get the new certificate, old ones live on; so does a worker's successor."""
    path = home(f"renewed-{workers}")
    with serving(path, workers) as daemon:
        old, before, since = (path / "cert.pem").read_text(), daemon.metrics(), daemon.log_size()
        assert presents(daemon, old)
        with RawConnection(dial(daemon)) as conn:
            assert conn.ask("GET", "/v1/images/disk").body == DISK
            new = renew(path)
            assert presents(daemon, old)  # nobody has asked for it yet
            daemon.hang_up()
            until(partial(presents, daemon, new), START_SECONDS)
            assert conn.ask("GET", "/v1/images/disk").body == DISK
        daemon.rises(before, 1, RELOADS, result="success")
        (line,) = lines_about_certificates(daemon, since)
        assert (line["message"], line["file"], line["changed"]) == (
            "certificate loaded",
            str(path / "cert.pem"),
            True,
        )
        if workers > 1:
            (path / "key.pem").unlink()
            os.kill(worker_pids(daemon)[1], signal.SIGKILL)
            wait_for_replacement(daemon, 1, 2 * 2)
            assert presents(daemon, new)
        assert daemon.stop() == 0


def _no_key(home: Path) -> str:
    (home / "key.pem").unlink()
    return "key.pem"


def _key_of_another(home: Path) -> str:
    (home / "other").mkdir()
    write_certificate(home / "other")
    (home / "other" / "key.pem").replace(home / "key.pem")
    return "key.pem"


def _half_a_certificate(home: Path) -> str:
    text = (home / "cert.pem").read_text()
    (home / "cert.pem").write_text(text[: len(text) // 2])
    return "cert.pem"


BREAKAGES: dict[str, tuple[Callable[[Path], str], str]] = {
    "no key": (_no_key, "No such file or directory"),
    "key of another": (_key_of_another, "not the key of the certificate in"),
    "half a certificate": (_half_a_certificate, "no certificate in PEM"),
}


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_pair_keeps_the_old_one(home: Callable[[str], Path], workers: int) -> None:
    """A pair that cannot be used is told of in one line, with file and reason; the one before is presented on."""
    path = home(f"broken-{workers}")
    with serving(path, workers) as daemon:
        old = (path / "cert.pem").read_text()
        key = (path / "key.pem").read_bytes()
        for breakage, reason in BREAKAGES.values():
            before, since = daemon.metrics(), daemon.log_size()
            name = breakage(path)
            daemon.hang_up()
            daemon.rises(before, 1, RELOADS, result="failure")
            assert presents(daemon, old)
            (line,) = lines_about_certificates(daemon, since)
            assert (line["level"], line["message"]) == ("error", "certificate refused")
            assert line["file"] == str(path / name)
            assert reason in str(line["reason"])
            (path / "key.pem").write_bytes(key)
            (path / "cert.pem").write_text(old)
        assert b"PRIVATE" not in daemon.log.read_bytes()
        new = renew(path)
        daemon.hang_up()
        until(partial(presents, daemon, new), START_SECONDS)
        assert daemon.stop() == 0
