"""The daemon as a process: how it ends, and what a log that nobody reads does to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE = 256 * 1024 * 1024
"""More than the buffers of a connection take."""


@contextmanager
def daemon(place: Path) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Run the daemon with its log on a pipe, over one big image; give process, host and port."""
    (place / "images").mkdir()
    with (place / "images" / "big.img").open("wb") as image:
        image.truncate(SIZE)
    command: list[str | Path] = [Path(sys.executable).with_name("twistd"), "--nodaemon", "--pidfile="]
    command += ["aero-storage", "--images-root", place / "images", "--listen-addr", "127.0.0.1:0"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
    process = subprocess.Popen(
        command, cwd=place, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        events = (json.loads(line) for line in iter(process.stdout.readline, ""))
        address = next(event["address"] for event in events if event["message"] == "listening")
        host, port = address.split(":")
        try:
            yield process, host, int(port)
        finally:
            process.kill()


def test_log_that_nobody_reads(tmp_path: Path) -> None:
    """A full pipe at the log's end stops neither the answers nor the end of the process."""
    with daemon(tmp_path) as (process, host, port):
        for _ in range(1000):  # some 300 bytes of log each; a pipe takes 64 KiB
            with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=10) as response:
                assert response.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def read_to_the_end(client: socket.socket) -> None:
    while client.recv(1 << 20):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle(tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends the process with 0; the stream under way breaks off and says so, the log is whole."""
    with daemon(tmp_path) as (process, host, port), socket.create_connection((host, port), 10) as client:
        client.sendall(b"GET /v1/images/big.img HTTP/1.1\r\nHost: a\r\n\r\n")
        got = 0
        while got < 1 << 20:
            got += len(client.recv(65536))
        while process.poll() is None:  # an impatient operator
            process.send_signal(number)
            time.sleep(0.005)
        assert process.returncode == 0
        with pytest.raises(ConnectionResetError):
            read_to_the_end(client)
        assert process.stdout is not None
        events = [json.loads(line) for line in process.stdout.read().splitlines()]
        (line,) = [event for event in events if event["message"] == "request complete"]
        assert (line["outcome"], line["status"]) == ("aborted", 200)
        assert got // 2 < line["bytes_sent"] < SIZE
        assert sum(event["message"] == "stopping" for event in events) == 1
        assert not [event for event in events if event["level"] not in ("info", "debug")]
