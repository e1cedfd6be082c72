"""The servers that are compared, and how each is started, watched and stopped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from bench import certificate, data
from bench.client import HOST, answers
from bench.errors import BenchError
from bench.processes import Usage, usage

SYSTEM_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
TWISTD = Path(sys.executable).parent / "twistd"
_PEERS = Path(__file__).parent / "peers"
_ETC = Path(__file__).parents[1] / "etc"
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0


@attrs.frozen
class Place:
    """What a server is told: what to serve, where to keep its own files, how to listen."""

    root: Path
    home: Path
    port: int
    workers: int = 1
    unlimited: bool = False  # without limits on requests and connections

    @property
    def log(self) -> Path:
        """Where the server logs; it may begin others beside it."""
        return self.home / "log"


@attrs.frozen
class Kind:
    """A server: a name for files and flags, a title for people, its URLs, its command line."""

    name: str
    title: str
    image_url: str
    chunk_url: str
    command: Callable[[Place], list[str]]
    log_line: bytes = b""  # what each line of its request log holds; empty where it has none
    is_secure: bool = False

    @property
    def scheme(self) -> str:
        """Of its URLs."""
        return "https" if self.is_secure else "http"

    def image(self, name: str) -> str:
        """The path of an image."""
        return self.image_url.format(name)

    def chunks(self, name: str) -> str:
        """What the paths of an image's chunks begin with."""
        return self.chunk_url.format(name)


@attrs.frozen
class Server:
    """A running server."""

    kind: Kind
    place: Place
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return self.place.port

    def usage(self) -> Usage:
        """What its processes have used so far; BenchError if it has ended."""
        if self.process.poll() is not None:
            raise BenchError(f"{self.kind.name} has ended: {self.said()}")
        return usage(self.process.pid)

    def logged(self) -> int | None:
        """The number of requests in its log, for servers that keep one."""
        if not self.kind.log_line:
            return None
        return sum(path.read_bytes().count(self.kind.log_line) for path in self.place.home.glob("log*"))

    def said(self) -> str:
        """The end of all that it printed and logged."""
        paths = [self.place.home / name for name in ("output", "log", "error.log")]
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in paths if path.exists())

    def stop(self) -> None:
        """End it, by force if it must be."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # a session of its own: workers too
            self.process.wait()


@contextmanager
def running(kind: Kind, place: Place, cores: str) -> Iterator[Server]:
    """Run a server, pinned to `cores`, in a new directory of its own that is removed at the end."""
    place.home.mkdir()
    command = ["taskset", "-c", cores, *kind.command(place)]
    with (place.home / "output").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=place.home, env=_environment(), stdout=output, stderr=output, start_new_session=True
        )
    server = Server(kind, place, process)
    try:
        _wait(server)
        yield server
    finally:
        server.stop()
        shutil.rmtree(place.home)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait(server: Server) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(server.port, server.kind.image(data.HOT), is_secure=server.kind.is_secure):
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"{server.kind.name} does not answer: {server.said()}")
        time.sleep(0.02)


def _environment() -> dict[str, str]:
    """No settings of the daemon, and no PYTHONPATH: what is measured is what was installed."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("AERO_", "PYTHON"))}


def _aero(*flags: str, socket: bool = False) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        address = f"--endpoint=unix:{place.home}/socket" if socket else f"--listen-addr={HOST}:{place.port}"
        start = [str(TWISTD), "--nodaemon", "--pidfile=", f"--logfile={place.log}", "aero-storage"]
        given = [address, f"--images-root={place.root}", "--require-manifest", *flags]
        workers = [f"--workers={place.workers}"] if place.workers > 1 else []
        limit = ["--max-concurrent-bytes-requests=0", "--max-connections=0"] if place.unlimited else []
        return [*start, *given, *workers, *limit]

    return command


def _aero_secure(place: Place) -> list[str]:
    certificate.write(place.home)
    # A relative path: a colon would end it.
    endpoint = f"ssl:{place.port}:interface={HOST}:privateKey={certificate.KEY}:certKey={certificate.CERTIFICATE}"
    return _aero(f"--endpoint={endpoint}")(place)


_CERTIFICATE = (
    f"ssl_certificate {certificate.CERTIFICATE}; ssl_certificate_key {certificate.KEY};"
    " ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:bench:1m;"
)
_FILES_FROM_DISK = 'root "@ROOT@";'
_ALL_FROM_THE_DAEMON = """location / {
            proxy_pass http://unix:@HOME@/socket:;
            include @HOME@/proxy.conf;
        }"""


def _nginx(log: str, site: str = _FILES_FROM_DISK, *, is_secure: bool = False) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        # Started by root it would otherwise serve as somebody who may not enter our directory.
        user = "" if os.geteuid() else "user root;"
        words = {"SITE": site, "USER": user, "WORKERS": str(place.workers), "LOG": log, "SSL": ""}
        if is_secure:
            certificate.write(place.home)
            words |= {"SSL": " ssl", "SITE": f"{_CERTIFICATE}\n        {site}"}
        places = {"PORT": str(place.port), "ROOT": str(place.root), "HOME": str(place.home)}
        text = (_PEERS / "nginx.conf").read_text(encoding="utf-8")
        for word, value in {**words, **places}.items():
            text = text.replace(f"@{word}@", value)
        (place.home / "nginx.conf").write_text(text, encoding="utf-8")
        nginx = shutil.which("nginx", path=SYSTEM_PATH) or "nginx"
        return [nginx, "-p", str(place.home), "-c", "nginx.conf", "-e", "error.log"]

    return command


def _caddy(place: Place) -> list[str]:
    text = (_PEERS / "Caddyfile").read_text(encoding="utf-8")
    for word, value in {"PORT": str(place.port), "ROOT": str(place.root), "LOG": str(place.log)}.items():
        text = text.replace(f"@{word}@", value)
    (place.home / "Caddyfile").write_text(text, encoding="utf-8")
    # Caddy keeps its last settings in these.
    homes = [f"{name}={place.home}" for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME")]
    return ["env", *homes, "caddy", "run", "--config", str(place.home / "Caddyfile"), "--adapter", "caddyfile"]


def _behind_nginx(place: Place) -> list[str]:
    """Make both command lines; the lines about the proxy are those of `etc/nginx`."""
    ours = (_ETC / "nginx" / "aero-storage.conf").read_text(encoding="utf-8")
    lines = re.findall(r"^    (proxy_(?!pass|ssl).*;)", ours, re.MULTILINE)
    (place.home / "proxy.conf").write_text("\n".join(lines), encoding="utf-8")
    nginx = _nginx("off", _ALL_FROM_THE_DAEMON)(place)
    return [sys.executable, "-I", str(_PEERS / "behind_nginx.py"), *nginx, "--", *_aero(socket=True)(place)]


def _script(name: str) -> Callable[[Place], list[str]]:
    # -I keeps PYTHONPATH and the script's own directory out of what it imports.
    return lambda place: [sys.executable, "-I", str(_PEERS / name), str(place.root), str(place.port)]


def _static(place: Place) -> list[str]:
    start = [str(TWISTD), "--nodaemon", "--pidfile=", f"--logfile={place.log}", "web"]
    return [*start, f"--listen=tcp:{place.port}:interface={HOST}", f"--path={place.root}"]


AERO, NO_EXPRESS, NGINX, AIOHTTP, STATIC = "aero-storage", "aero-no-express", "nginx", "aiohttp", "twisted-static"
NO_LOG, CADDY = "nginx-no-log", "caddy"
BEHIND = "aero-behind-nginx"
_OURS = ("/v1/images/{}", "/v1/images/{}/chunked/v1/chunks/")
_THEIRS = ("/{}", "/chunked/{}/v1/chunks/")
KINDS = (
    Kind(AERO, "aero-storage", *_OURS, _aero(), b'"request complete"'),
    Kind(NO_EXPRESS, "aero-storage --no-express", *_OURS, _aero("--no-express"), b'"request complete"'),
    Kind(NGINX, "nginx", *_THEIRS, _nginx("log json buffer=64k flush=1s"), b'{"time"'),
    Kind(NO_LOG, "nginx, no log", *_THEIRS, _nginx("off")),
    Kind(CADDY, "Caddy", *_THEIRS, _caddy, b'"handled request"'),
    Kind(BEHIND, "aero-storage behind nginx", *_OURS, _behind_nginx, b'"request complete"'),
    Kind(AIOHTTP, "aiohttp + uvloop", *_THEIRS, _script("aiohttp_files.py")),
    Kind("starlette", "Starlette + uvicorn", *_THEIRS, _script("starlette_files.py")),
    Kind(STATIC, "twisted.web.static", *_THEIRS, _static, b'"GET /'),
)

COLOURS = {
    "aero-storage": "#0b6e4f",
    "aero-no-express": "#6fc3a0",
    "aero-behind-nginx": "#a8d5c2",
    "nginx-no-log": "#3d3d3d",
    "caddy": "#1ba3b0",
    "aiohttp": "#3b6fb6",
    "starlette": "#c77d1e",
    "twisted-static": "#8e5aa8",
}
"""Of the bars of each in a plot; those of nginx are the line."""


SECURE_AERO, SECURE_NGINX = "aero-storage-tls", "nginx-tls"
SECURE_KINDS = (
    Kind(SECURE_AERO, "aero-storage, TLS", *_OURS, _aero_secure, b'"request complete"', is_secure=True),
    Kind(
        SECURE_NGINX,
        "nginx, TLS",
        *_THEIRS,
        _nginx("log json buffer=64k flush=1s", is_secure=True),
        b'{"time"',
        is_secure=True,
    ),
)


def daemon_flags() -> str:
    """The help of the installed daemon, which tells what flags it has."""
    done = subprocess.run(
        [TWISTD, "aero-storage", "--help"], capture_output=True, text=True, env=_environment(), check=False
    )
    if done.returncode:
        raise BenchError(f"there is no aero-storage in {TWISTD.parent}: {done.stderr}")
    return done.stdout
