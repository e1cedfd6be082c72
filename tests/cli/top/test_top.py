"""`aero-storage top` as a process, beside a server that tells metrics."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import pytest

PROGRAM = str(Path(sys.executable).with_name("aero-storage"))
PAGE = """process_start_time_seconds 1
aero_storage_server_build_info{version="0.2.0"} 1
aero_storage_places_taken 3
aero_storage_places_limit 64
image_bytes_served_total{image_id="HOSTILE"} BYTES
"""
SECONDS = 60.0


@attrs.define
class MetricsServer:
    """A server whose metrics rise with each look."""

    status: int = 200
    image: str = "win98"
    body: str = PAGE
    looks: int = 0
    agents: set[str] = attrs.field(factory=set)
    tokens: set[str | None] = attrs.field(factory=set)
    server: ThreadingHTTPServer | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if self.server is None:  # a connection that was kept
            handler.close_connection = True
            return
        self.looks += 1
        self.agents.add(handler.headers["User-Agent"])
        self.tokens.add(handler.headers["Authorization"])
        text = self.body.replace("BYTES", str(self.looks << 20)).replace("HOSTILE", self.image)
        body = text.encode() if handler.path == "/metrics" else b"other"
        handler.send_response(self.status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def start(self) -> None:
        told = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5

            def do_GET(self) -> None:
                told.answer(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            block_on_close = False

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    started = MetricsServer()
    started.start()
    yield started
    started.stop()


def environ(**more: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
    return {**ours, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **more}


def top(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "top", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environ(**more))


def test_once(server: MetricsServer) -> None:
    """With --once it looks twice, prints the figures between, and ends."""
    done = top(server.url, "--once", "--interval", "0.2")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{server.url}   aero-storage 0.2.0" in done.stdout
    assert "places       3 of 64 taken" in done.stdout
    assert "win98" in done.stdout
    assert server.looks == 2
    assert server.agents == {"aero-storage top"}


def test_once_as_json(server: MetricsServer) -> None:
    """With --json the figures are one document."""
    done = top(server.url, "--once", "--json", "--interval", "0.2")
    document = json.loads(done.stdout)
    assert (document["places_taken"], document["cache"]) == (3, None)
    assert 0 < document["bytes_per_second"] <= (1 << 20) / 0.2
    assert document["images"].keys() == {"win98"}


def test_names_from_outside_are_escaped(server: MetricsServer) -> None:
    """A name with control characters reaches the terminal escaped only."""
    server.image = "a\x1b]0;x\x07b"
    done = top(server.url, "--once", "--interval", "0.2")
    assert "a\\x1b]0;x\\x07b" in done.stdout
    assert "\x1b" not in done.stdout


def test_lines_where_no_terminal_is(server: MetricsServer) -> None:
    """Without a terminal each look is a line, and Ctrl-C ends it with status 0."""
    command = [PROGRAM, "top", server.url, "--interval", "0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ()) as running:
        assert running.stdout is not None
        lines = [next(running.stdout) for _ in range(3)]
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=120)
    assert running.returncode == 0
    assert all(re.match(r"\d\d:\d\d:\d\d  0\.0 requests/s  [\d.]+ MiB/s  places 3/64  ", one) for one in lines), lines


def test_reader_that_goes_away(server: MetricsServer) -> None:
    """A reader that has seen enough is no failure."""
    with subprocess.Popen(
        [PROGRAM, "top", server.url, "--interval", "0.2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ(),
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        next(running.stdout)
        running.stdout.close()
        said = running.stderr.read()
        running.wait(120)
    assert (running.returncode, said) == (0, "")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, PAGE, "there are no metrics: --disable-metrics is set"),
        (401, PAGE, "--metrics-auth-token-file"),
        (403, PAGE, "not for this token"),
        (500, PAGE, "the metrics are answered 500"),
        (200, "<html>\x1b[31m</html>", "holds no metrics"),
    ],
)
def test_no_metrics(server: MetricsServer, status: int, body: str, reason: str) -> None:
    """A server without metrics ends it at the start, with one line that says why."""
    server.status, server.body = status, body
    done = top(server.url)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert reason in done.stderr
    assert "\x1b" not in done.stderr


def test_no_server(server: MetricsServer) -> None:
    """A server that is not there ends it at the start."""
    server.stop()
    done = top(server.url)
    assert (done.returncode, done.stderr) == (1, f"aero-storage: {server.url}: GET /metrics: Connection refused\n")


def test_token(server: MetricsServer, tmp_path: Path) -> None:
    """The token of the settings is sent, and not shown."""
    (tmp_path / "token").write_text("s3cret\n")
    done = top(server.url, "--once", "--interval", "0.2", "--metrics-auth-token-file", str(tmp_path / "token"))
    assert done.returncode == 0
    assert server.tokens == {"Bearer s3cret"}
    assert "s3cret" not in done.stdout + done.stderr


def test_token_of_the_settings(server: MetricsServer, tmp_path: Path) -> None:
    """The token of the settings is sent to their own address, and to no other server; the message says so."""
    (tmp_path / "token").write_text("s3cret\n")
    config = tmp_path / "aero.toml"
    for port, sent in ((server.port, "Bearer s3cret"), (1, None)):
        server.tokens.clear()
        config.write_text(
            f'listen_addr = "0.0.0.0:{port}"\nmetrics_auth_token_file = "{tmp_path}/token"\n', encoding="utf-8"
        )
        words = ("--once", "--interval", "0.2")
        assert top(server.url, *words, AERO_STORAGE_CONFIG=str(config)).returncode == 0
        assert server.tokens == {sent}
    server.status = 401
    told = top(server.url, AERO_STORAGE_CONFIG=str(config))
    assert (told.returncode, "is sent to their own address alone" in told.stderr) == (1, True)
    assert "s3cret" not in told.stdout + told.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals(server: MetricsServer, number: signal.Signals, status: int) -> None:
    """A signal other than Ctrl-C ends it with 128 + n, as any command."""
    command = [PROGRAM, "top", server.url, "--interval", "0.2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ()
    ) as running:
        assert running.stdout is not None
        next(running.stdout)
        running.send_signal(number)
        _, said = running.communicate(timeout=120)
    assert (running.returncode, said.strip()) == (status, "aero-storage: interrupted; nothing was changed")


@attrs.define
class Terminal:
    """A program at a terminal of its own."""

    descriptor: int
    pid: int
    seen: str = ""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, check: Callable[[str], bool]) -> str:
        """Read until what has come since the last call is as wanted."""
        text, ends = "", time.monotonic() + SECONDS
        while not check(text):
            assert time.monotonic() < ends, text
            if select.select([self.descriptor], [], [], 0.1)[0]:
                text += os.read(self.descriptor, 65536).decode()
        self.seen += text
        return text

    def ended(self) -> int:
        with suppress(OSError):  # EIO: the program has closed its end
            while data := os.read(self.descriptor, 65536):
                self.seen += data.decode()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextmanager
def terminal(*words: str, columns: int = 100, lines: int = 30) -> Iterator[Terminal]:
    controller, own = pty.openpty()
    fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    command = [sys.executable, "-c", LAUNCH, PROGRAM, "top", *words]
    started = subprocess.Popen(command, stdin=own, stdout=own, stderr=own, env=environ(), start_new_session=True)
    os.close(own)
    shown = Terminal(controller, started.pid)
    try:
        yield shown
    finally:
        started.kill()
        with suppress(ChildProcessError):
            started.wait(10)
        os.close(controller)


# Makes the terminal that of its session, so that Ctrl-C and changes of its size are signals.
LAUNCH = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_screen(server: MetricsServer) -> None:
    """On a terminal the figures stay in place on the second screen; Ctrl-C gives the first one back."""
    with terminal(server.url, "--interval", "0.2") as shown:
        shown.until(lambda text: text.count("places       3 of 64 taken") >= 2)
        os.write(shown.descriptor, b"\x03")
        assert shown.ended() == 0
    assert shown.seen.startswith("\x1b[?1049h")
    assert shown.seen.count("\x1b[?1049h") == 1
    assert shown.seen.rstrip().endswith("\x1b[?1049l")
    assert "\x1b[?25h" in shown.seen
    assert "Traceback" not in shown.seen


def test_screen_follows_its_size(server: MetricsServer) -> None:
    """A terminal that gets another size is written anew at once, long before the next look."""
    with terminal(server.url, "--interval", "0.2") as shown:
        shown.until(lambda text: "places       3 of 64" in text)
        os.write(shown.descriptor, b"\x03")
        assert shown.ended() == 0
    with terminal(server.url, "--interval", "3600") as shown:
        shown.until(lambda text: "looking" in text)
        shown.resize(12, 5)
        text = shown.until(lambda text: "looking" in text)
        assert f"{server.url} " not in text
        os.write(shown.descriptor, b"\x03")
        assert shown.ended() == 0


def test_narrow_screen(server: MetricsServer) -> None:
    """On a narrow terminal no line is wider than it is."""
    with terminal(server.url, "--interval", "0.2", columns=32, lines=24) as shown:
        text = shown.until(lambda text: text.count("3 of 64 taken") >= 2)
        os.write(shown.descriptor, b"\x03")
        assert shown.ended() == 0
    frames = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", text)
    assert max(len(one) for one in re.split(r"[\r\n]+", frames)) <= 32


def test_server_that_goes_and_comes_back(server: MetricsServer) -> None:
    """While the daemon is away the screen says so, and its figures come back with it."""
    with terminal(server.url, "--interval", "0.2", "--timeout", "2") as shown:
        shown.until(lambda text: "3 of 64 taken" in text)
        server.stop()
        shown.until(lambda text: f"no figures: {server.url}: GET /metrics" in text)
        server.start()
        shown.until(lambda text: "3 of 64 taken" in text)
        os.write(shown.descriptor, b"\x03")
        assert shown.ended() == 0
