"""nginx and the daemon with the image of the guest, and what their logs say of a boot."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from tests.certificates import write_certificate
from tests.clients.nginx_proxy import site_config, write_nginx_config

from bench.boot.loaders import DAEMON, HTTP2, NGINX
from bench.errors import BenchError
from bench.servers import SYSTEM_PATH, free_port

IMAGE, NOISE = "linux", "noise"
NOISE_BYTES = 64 << 20
BIN = Path(sys.executable).parent
_START_SECONDS, _STOP_SECONDS = 20.0, 5.0


@attrs.frozen
class Server:
    """A server that runs, and its log."""

    name: str
    port: int
    root: Path
    log: Path

    def mark(self) -> int:
        """Where the log ends now."""
        return self.log.stat().st_size if self.log.exists() else 0

    def lines(self, since: int) -> list[dict[str, Any]]:
        """The requests that the log has had since then, whose lines come within a second."""
        time.sleep(1.1)
        with self.log.open("rb") as file:
            file.seek(since)
            rows = [json.loads(line) for line in file.read().splitlines() if line.startswith(b"{")]
        return [row for row in rows if "status" in row]


@contextmanager
def serving(name: str, image: Path, home: Path) -> Iterator[Server]:
    """Run a server of one image."""
    home.mkdir()
    root, port = home / "images", free_port()
    command = {NGINX: _nginx, DAEMON: _daemon}[name](image, root, home, port)
    with _process(command, home, port):
        yield Server(name, port, root, home / "log")


@contextmanager
def behind_nginx(daemon: Server, home: Path) -> Iterator[Server]:
    """Run nginx with `etc/nginx/aero-storage.conf` before the daemon; its port speaks HTTP/2 over TLS."""
    home.mkdir()
    write_certificate(home)
    ports = (free_port(), free_port())
    site = site_config("aero-storage.conf", home, home, (f"127.0.0.1:{daemon.port}",), ports)
    write_nginx_config(home, site)
    command = [_nginx_program(), "-p", str(home), "-c", "nginx.conf", "-e", "error.log"]
    with _process(command, home, ports[1]):
        yield Server(HTTP2, ports[1], daemon.root, daemon.log)


@contextmanager
def _process(command: list[str], home: Path, port: int) -> Iterator[None]:
    """Run a server until the end, once it takes connections."""
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=home, stdout=output, stderr=output, env=_environment())
    try:
        _wait(port, process, home)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("AERO_", "PYTHON"))}


def _nginx(image: Path, root: Path, home: Path, port: int) -> list[str]:
    root.mkdir()
    shutil.copyfile(image, root / IMAGE)
    # Started by root it would otherwise serve as somebody who may not enter our directory.
    words = {"@USER@": "" if os.geteuid() else "user root;", "@PORT@": str(port), "@ROOT@": str(root)}
    text = Path(__file__).with_name("nginx.conf").read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(word, value)
    (home / "nginx.conf").write_text(text, encoding="utf-8")
    return [_nginx_program(), "-p", str(home), "-c", "nginx.conf", "-e", "error.log"]


def _nginx_program() -> str:
    if nginx := shutil.which("nginx", path=SYSTEM_PATH):
        return nginx
    raise BenchError("nginx is not installed (Debian: apt-get install nginx-light)")


def _daemon(image: Path, root: Path, home: Path, port: int) -> list[str]:
    storage(root, "import", str(image), "--id", IMAGE, "--format", "raw")
    (home / "noise").write_bytes(random.Random(1).randbytes(NOISE_BYTES))
    storage(root, "import", str(home / "noise"), "--id", NOISE, "--format", "raw")
    start = [str(BIN / "twistd"), "--nodaemon", "--pidfile=", f"--logfile={home / 'log'}", "aero-storage"]
    return [*start, f"--listen-addr=127.0.0.1:{port}", f"--images-root={root}"]


def storage(root: Path, *words: str) -> None:
    """Run `aero-storage` on an images root."""
    root.mkdir(exist_ok=True)
    command = [str(BIN / "aero-storage"), *words, "--images-root", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    if done.returncode:
        raise BenchError(f"aero-storage {words[0]} ended with {done.returncode}: {done.stderr}")


def _wait(port: int, process: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                said = (home / "output").read_text(errors="replace")[-2000:]
                raise BenchError(f"the server does not answer: {said}") from None
            time.sleep(0.05)
        else:
            return
