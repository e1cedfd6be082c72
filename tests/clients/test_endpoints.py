"""TLS and UNIX endpoints of the real daemon: the bytes, and what is told about them, are those of TCP."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import write_certificate

START_SECONDS = 20


def follow(log: Path, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Read the daemon's log until it says enough."""
    deadline = time.monotonic() + START_SECONDS
    events: list[dict[str, Any]] = []
    while not enough(events):
        assert time.monotonic() < deadline, events
        complete = log.read_text().rpartition("\n")[0] if log.exists() else ""
        events = [json.loads(line) for line in complete.splitlines()]
        time.sleep(0.01)
    return events


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, demo_image: Path) -> Iterator[Path]:
    """A directory with the log of a daemon that listens at TLS and proxy ports and at `socket`."""
    place = tmp_path_factory.mktemp("endpoints")
    write_certificate(place)
    command: list[str | Path] = [
        Path(sys.executable).with_name("twistd"),
        "--nodaemon",
        "--pidfile=",
        "--logfile=log",
    ]
    endpoints = (
        "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem",
        "haproxy:tcp:0:interface=127.0.0.1",
        "unix:socket",
    )
    command += ["aero-storage", "--images-root", demo_image.parent]
    command += [word for endpoint in endpoints for word in ("--endpoint", endpoint)]
    process = subprocess.Popen(command, cwd=place)
    events = follow(place / "log", lambda events: sum(event["message"] == "listening" for event in events) == 3)
    addresses = [event["address"] for event in events if event["message"] == "listening"]
    (place / "pid").write_text(str(process.pid))
    (place / "port").write_text(addresses[0].rpartition(":")[2])
    (place / "proxy-port").write_text(addresses[1].rpartition(":")[2])
    yield place
    process.terminate()
    assert process.wait(10) == 0


LEAVING = {
    "after a refused body": (
        b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
        b"x" * 40_000,
        True,
    ),
    "without closing": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"", False),
}


@pytest.mark.parametrize(("head", "more", "closes"), LEAVING.values(), ids=LEAVING)
def test_tls_connections_end(place: Path, head: bytes, more: bytes, closes: bool) -> None:  # noqa: FBT001
    """A TLS connection that we close is gone soon, whatever the client still sends and if it never closes its end."""
    process_id = int((place / "pid").read_text())
    before = sockets_of(process_id)
    context = ssl.create_default_context(cafile=place / "cert.pem")
    address = ("127.0.0.1", int((place / "port").read_text()))
    clients = [
        context.wrap_socket(socket.create_connection(address, 10), server_hostname="localhost") for _ in range(5)
    ]
    for client in clients:
        client.sendall(head)
        assert client.recv(1000).startswith(b"HTTP/1.1 ")
        client.sendall(more)
        if closes:
            client.close()
    deadline = time.monotonic() + START_SECONDS
    while sockets_of(process_id) > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for client in clients:
        client.close()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("most", [512, 4096])
def test_short_records(
    place: Path, demo_image: Path, require_tool: Callable[..., str], version: str, most: int
) -> None:
    """A client that takes short records alone (RFC 6066 §4) gets whole bodies, small and large."""
    openssl, port = require_tool("openssl", package="openssl"), (place / "port").read_text()
    words = [openssl, "s_client", "-connect", f"127.0.0.1:{port}", version, "-maxfraglen", str(most), "-quiet"]
    head = f"GET /v1/images/{demo_image.name} HTTP/1.1\r\nHost: a\r\nRange: bytes={{}}\r\nConnection: {{}}\r\n\r\n"
    asked = head.format("5-70000", "keep-alive") + head.format("0-999999", "close")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(asked.encode())
        client.stdin.flush()  # and not closed: the program would end
        came = client.stdout.read()
    data, body = demo_image.read_bytes(), came.partition(b"\r\n\r\n")[2]
    assert came.count(b"HTTP/1.1 206") == 2
    assert body.startswith(data[5:70_001])
    assert came.endswith(b"\r\n\r\n" + data[:1_000_000])


def sockets_of(process_id: int) -> int:
    links = [str(link) for link in Path(f"/proc/{process_id}/fd").iterdir()]
    return sum(os.path.realpath(link).rpartition("/")[2].startswith("socket:") for link in links)


@pytest.fixture(params=["tls", "unix"])
def curl(
    request: pytest.FixtureRequest, place: Path, require_tool: Callable[..., str], run_tool: Callable[..., str]
) -> Callable[..., str]:
    """Ask the daemon for a path with curl, over TLS or the UNIX socket."""
    program = require_tool("curl", package="curl")
    port = (place / "port").read_text()
    tls = ["--cacert", str(place / "cert.pem"), "--connect-to", f"localhost:443:127.0.0.1:{port}"]
    unix = ["--unix-socket", str(place / "socket")]
    how, scheme = (tls, "https") if request.param == "tls" else (unix, "http")
    return lambda path, *options: run_tool(program, "-sS", *how, *options, f"{scheme}://localhost{path}")


def test_whole_image(curl: Callable[..., str], demo_bytes: bytes, tmp_path: Path) -> None:
    """A whole image arrives to the byte."""
    curl("/v1/images/demo.img", "-o", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == demo_bytes


def test_range(curl: Callable[..., str], demo_bytes: bytes, text_offset: int, tmp_path: Path) -> None:
    """So does a range."""
    span = f"{text_offset}-{text_offset + 999_999}"
    status = curl(
        "/v1/images/demo.img", "-r", span, "-o", str(tmp_path / "got"), "-w", "%{http_code} %{http_version}"
    )
    assert status == "206 1.1"
    assert (tmp_path / "got").read_bytes() == demo_bytes[text_offset : text_offset + 1_000_000]


def test_refused_body(curl: Callable[..., str]) -> None:
    """A refused body still gets its answer."""
    assert curl("/v1/images/demo.img", "-X", "GET", "-d", "x" * 100_000, "-w", "%{http_code}") == "413"


def test_what_is_logged(curl: Callable[..., str], place: Path) -> None:
    """Body bytes are counted as on TCP; a UNIX peer has no address."""
    request_id = f"{id(curl)}"
    curl("/v1/images/demo.img", "-r", "0-99999", "-o", "/dev/null", "-H", f"X-Request-Id: {request_id}")

    def mine(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [event for event in events if event.get("request_id") == request_id]

    (line,) = mine(follow(place / "log", lambda events: bool(mine(events))))
    assert (line["outcome"], line["bytes_sent"], line["status"]) == ("complete", 100_000, 206)
    assert line["client"] in ("127.0.0.1", "unix")


def test_first_byte_behind_a_proxy_header(place: Path) -> None:
    """With the PROXY protocol the first byte behind its header counts, and the log has the client that it names."""
    address = ("127.0.0.1", int((place / "proxy-port").read_text()))
    header = b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 80\r\n"
    with socket.create_connection(address, START_SECONDS) as client:
        client.sendall(header + b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    with socket.create_connection(address, START_SECONDS) as client:
        client.sendall(header + b"\x16\x03\x01")
        assert client.recv(1000) == b""

    def told(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [event for event in events if "looks_like" in event]

    (line,) = told(follow(place / "log", lambda events: bool(told(events))))
    assert (line["client"], line["looks_like"]) == ("192.0.2.9", "TLS on a plain port")
