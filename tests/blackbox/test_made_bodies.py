"""Bodies that the daemon makes, for many clients that read nothing, with the real daemon."""

from __future__ import annotations

import os
import ssl
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import Daemon, running, until
from tests.blackbox.image_roots import entry, put_catalog, write
from tests.blackbox.raw_http import RawConnection, head
from tests.certificates import write_certificate

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
CLIENTS = 100
LIST = head("GET", "/v1/images")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a list of a megabyte, and a certificate."""
    write(tmp_path / "images" / "disk.img", bytes(512))
    put_catalog(tmp_path / "images", [entry(f"image-{number}", description="d" * 10_000) for number in range(104)])
    write_certificate(tmp_path)
    return tmp_path


def resident(daemon: Daemon) -> int:
    pages = Path(f"/proc/{daemon.process.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def dial_tcp(daemon: Daemon) -> RawConnection:
    return daemon.dial(receive_buffer=4096)


def dial_tls(daemon: Daemon) -> RawConnection:
    *_, address = [line["address"] for line in daemon.lines() if line["message"] == "listening"]
    plain = RawConnection.dial(int(address.rpartition(":")[2]), receive_buffer=4096)
    context = ssl.create_default_context(cafile=daemon.home / "cert.pem")
    return RawConnection(context.wrap_socket(plain.sock, server_hostname="localhost"))


def waits(daemon: Daemon, bodies: int) -> bool:
    """Whether so many bodies of a megabyte wait."""
    return daemon.metrics().value("aero_storage_waiting_body_bytes") > bodies * MIB


@pytest.mark.parametrize("dial", [dial_tcp, Daemon.dial_unix, dial_tls])
def test_clients_that_read_nothing(place: Path, dial: Callable[[Daemon], RawConnection]) -> None:
    """A hundred clients that ask for a megabyte and do not read take a tenth of a hundred megabytes at the most."""
    endpoints = (
        *("--endpoint", "tcp:0:interface=127.0.0.1", "--endpoint", "unix:socket"),
        *("--endpoint", "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem"),
    )
    with running(place, *endpoints) as daemon, ExitStack() as stack:
        whole = daemon.ask("/v1/images").body
        assert len(whole) > MIB
        conns = [stack.enter_context(dial(daemon)) for _ in range(CLIENTS)]
        before = resident(daemon)
        for conn in conns:
            conn.send(LIST)
        until(lambda: daemon.metrics().value("aero_storage_requests_in_flight") > CLIENTS)
        assert daemon.ask("/v1/images").body == whole  # by now the others have been answered, too
        daemon.metrics()
        assert resident(daemon) - before < CLIENTS * MIB // 10
        assert MIB < daemon.metrics().value("aero_storage_waiting_body_bytes") < 6 * MIB
        assert conns[7].reply().body == conns[93].reply().body == whole
        stack.close()
        until(lambda: daemon.metrics().value("aero_storage_waiting_body_bytes") == 0)


def test_over_the_limit(place: Path) -> None:
    """The client that has waited longest is reset with a reason in the log; whoever reads gets all."""
    with running(place, "--max-waiting-body-bytes", str(3 * MIB)) as daemon, ExitStack() as stack:
        put_catalog(daemon.root, [entry("disk", description="d" * MIB)])
        until(lambda: daemon.ask("/v1/images/disk/meta").status == 200)
        conns = [stack.enter_context(dial_tcp(daemon)) for _ in range(3)]
        for number, conn in enumerate(conns, start=1):
            conn.send(head("GET", "/v1/images/disk/meta", {"X-Request-Id": f"client-{number}"}))
            until(partial(waits, daemon, min(number, 2)))
        line = daemon.complete("client-1")
        assert (line["outcome"], line["reason"]) == ("aborted", "waiting_bodies")
        conns[0].rest()
        assert conns[0].ending == "reset"
        assert [conn.reply().ending for conn in conns[1:]] == ["whole", "whole"]
        assert daemon.metrics().value("aero_storage_waiting_bodies_closed_total") == 1
