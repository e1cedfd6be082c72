"""Starts the real daemon as a process, follows its log, reads its metrics."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from attrs import define, field, frozen
from tests.blackbox import bucket_roots
from tests.blackbox.preloaded_process import ForkedProcess, fork, may_be_forked
from tests.blackbox.raw_http import Fields, RawConnection, Reply, head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")
Line: TypeAlias = dict[str, Any]
START_SECONDS = 30.0
STOP_SECONDS = 10.0
SHOWS_WITHIN = 2.0 if bucket_roots.MODE == "directory" else 4.0
"""The second of http.md §3 for a change on disk, or of `--origin-refresh-secs`, and grace for a busy machine."""
WITHOUT_LINUX = Path(__file__).parents[1] / "other_systems" / "without_linux"
"""A sitecustomize by which a Python lacks what Linux has beyond other systems."""
METRICS_AT_ONCE = Path(__file__).parent / "metrics_at_once"
"""A sitecustomize by which nobody waits for metrics."""
TWISTD = Path(sys.executable).parent / "twistd"
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def until(check: Callable[[], T], seconds: float = 5.0) -> T:
    """Ask again and again until the answer is true; AssertionError after `seconds`."""
    deadline, pause = time.monotonic() + seconds, 0.001
    while not (answer := check()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    return answer


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without settings of the daemon, its PYTHONPATH made absolute."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AERO_", "GIT_SHA", "BUILD_TIME"))}
    if os.environ.get("BLACKBOX_SYSTEM") == "portable":
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(WITHOUT_LINUX), kept.get("PYTHONPATH")]))
    if path := kept.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in path.split(os.pathsep))
    return kept | dict(extra or {})


def daemon_environment(extra: Mapping[str, str] | None, *, metrics_at_once: bool) -> dict[str, str]:
    """Return the environment of a daemon; what takes things from Linux has a sitecustomize of its own."""
    found = environment(extra)
    if metrics_at_once:
        found["PYTHONPATH"] = os.pathsep.join(filter(None, [found.get("PYTHONPATH"), str(METRICS_AT_ONCE)]))
    return found


def command(home: Path, *flags: str) -> list[str]:
    mode = ["--no-express"] if os.environ.get("BLACKBOX_EXPRESS") == "off" else []
    return [str(TWISTD), "--nodaemon", "--pidfile=", f"--logfile={home / 'log'}", "aero-storage", *mode, *flags]


@frozen
class Exposition:
    """A parsed Prometheus text exposition."""

    text: str
    types: dict[str, str]
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def get(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def value(self, name: str, **labels: str) -> float:
        return self.get(name, **labels) or 0.0

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for sample, labels in self.samples if sample == name]


def parse_metrics(text: str) -> Exposition:
    types: dict[str, str] = {}
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
        elif line and not line.startswith("#"):
            match = _SAMPLE.fullmatch(line)
            assert match, f"not a sample: {line!r}"
            samples[match[1], frozenset(_LABEL.findall(match[2] or ""))] = float(match[3])
    return Exposition(text, types, samples)


def _lines_with(log: bytes, needle: bytes) -> Iterator[bytes]:
    """Give the complete lines that hold `needle`, without splitting all of a long log."""
    at = log.find(needle)
    while at >= 0:
        end = log.find(b"\n", at)
        if end < 0:
            return
        yield log[log.rfind(b"\n", 0, at) + 1 : end]
        at = log.find(needle, end)


@define
class Daemon:
    """A running daemon: its process, its images root and its port on 127.0.0.1."""

    process: subprocess.Popen[bytes] | ForkedProcess
    home: Path
    root: Path
    """The directory that tests write to; what the daemon serves is this, or a bucket that is kept as it is."""
    port: int = 0
    owned: ExitStack = field(factory=ExitStack)
    """What ends with the daemon."""
    copy: Callable[[], None] = field(default=lambda: None)
    """Makes the bucket as the directory is, if a bucket is served."""

    def hang_up(self) -> None:
        """Send SIGHUP: the daemon reads what lies in its directory now."""
        self.copy()
        self.process.send_signal(signal.SIGHUP)

    def dial(self, *, receive_buffer: int | None = None, source: str | None = None) -> RawConnection:
        return RawConnection.dial(self.port, receive_buffer=receive_buffer, source=source)

    def dial_unix(self) -> RawConnection:
        """Connect to its UNIX socket, which is named `socket`."""
        return RawConnection.dial_unix(self.home / "socket")

    def ask(
        self,
        target: str | bytes,
        method: str = "GET",
        fields: Fields = (),
        *,
        host: str | None = "store.test",
        version: str = "HTTP/1.1",
    ) -> Reply:
        """Send one request on a connection of its own and read the response."""
        with self.dial() as conn:
            conn.send(head(method, target, fields, host=host, version=version))
            return conn.reply(method)

    def traced(
        self, target: str | bytes, method: str = "GET", fields: Fields = (), *, host: str | None = "store.test"
    ) -> tuple[Reply, Line]:
        """Send one request; return the response and its `request complete` line."""
        pairs = fields if isinstance(fields, tuple) else tuple(fields.items())
        if not any(name.lower() == "x-request-id" for name, _ in pairs):
            pairs += (("X-Request-Id", f"t-{uuid.uuid4()}"),)
        reply = self.ask(target, method, pairs, host=host)
        return reply, self.complete(reply["X-Request-Id"])

    @property
    def log(self) -> Path:
        return self.home / "log"

    def log_text(self, since: int = 0) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(since)
            return file.read().decode("utf-8", "replace")

    def log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def lines(self, since: int = 0) -> list[Line]:
        """Return the log from byte `since`, line by line; what is no JSON object is left out here."""
        raws = self.log_text(since).split("\n")[:-1]
        return [json.loads(raw) for raw in raws if raw.startswith("{")]

    def line(self, wanted: Callable[[Line], bool], since: int = 0, seconds: float = 5.0) -> Line:
        """Follow the log until a line is as wanted."""
        found = until(lambda: [line for line in self.lines(since) if wanted(line)], seconds)
        return found[0]

    def complete(self, request_id: str) -> Line:
        """Follow the log until the `request complete` line of one request."""
        needle = f'"{request_id}"'.encode()

        def look() -> list[Line]:
            lines = [json.loads(raw) for raw in _lines_with(self.log.read_bytes(), needle)]
            return [line for line in lines if line.get("message") == "request complete"]

        return until(look)[0]

    def metrics(self, fields: Fields = ()) -> Exposition:
        reply = self.ask("/metrics", fields=fields)
        assert reply.status == 200
        return parse_metrics(reply.body.decode())

    def rises(self, before: Exposition, by: float, name: str, **labels: str) -> None:
        """Wait until a counter stands exactly `by` above what it was."""
        wanted = before.value(name, **labels) + by
        until(lambda: self.metrics().value(name, **labels) == wanted)

    def stop(self) -> int:
        """End the process, by force if it must be, and return its exit status."""
        with self.owned:
            return self._stop()

    def _stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(STOP_SECONDS)

    def said(self) -> str:
        """Return all that the process printed, for messages of failed tests."""
        return "".join((self.home / name).read_text() for name in ("stdout", "stderr")) + self.log_text()


def _copy_nothing() -> None:
    """A directory is served as it is."""


def start(
    home: Path,
    *flags: str,
    env: Mapping[str, str] | None = None,
    port: int = 0,
    prefix: tuple[str, ...] = (),
    metrics_at_once: bool = True,
) -> Daemon:
    """Start a daemon in `home` over `home/images` unless the flags say otherwise; wait until it listens.

    With `metrics_at_once` nobody waits half a second for the next exposition of the metrics.
    """
    root = home / "images"
    given = [] if any(flag.startswith("--listen-addr") for flag in flags) else ["--listen-addr", "127.0.0.1:0"]
    named = any(flag.startswith("--images-root") for flag in flags) or "AERO_STORAGE_IMAGE_ROOT" in (env or {})
    owned, copy = ExitStack(), _copy_nothing
    if not named:
        root.mkdir(exist_ok=True)
        given += ["--images-root", str(root)]
        if bucket_roots.MODE != "directory":
            serving = bucket_roots.bucket_root(root, home, cached=bucket_roots.MODE == "cached")
            bucket = owned.enter_context(serving)
            given, env = [*given[:-2], *bucket.flags], {**bucket.environ, **(env or {})}
            copy = bucket.copy
    with (home / "stdout").open("wb") as out, (home / "stderr").open("wb") as err:
        variables = daemon_environment(env, metrics_at_once=metrics_at_once)
        words = [*prefix, *command(home, *given, *flags)]
        process: subprocess.Popen[bytes] | ForkedProcess
        if prefix or not may_be_forked(env or {}):
            process = subprocess.Popen(words, cwd=home, env=variables, stdout=out, stderr=err)
        else:
            process = fork(words, home, variables, out, err)
    daemon = Daemon(process, home, root, port, owned, copy)
    try:
        daemon.port = port or _listening_port(daemon)
    except BaseException:
        process.kill()
        process.wait()
        owned.close()
        raise
    return daemon


def _listening_port(daemon: Daemon) -> int:
    def look() -> int:
        assert daemon.process.poll() is None, f"the daemon ended: {daemon.said()}"
        found = [line for line in daemon.lines() if line.get("message") == "listening" and "address" in line]
        return int(found[0]["address"].rpartition(":")[2]) if found else 0

    return until(look, START_SECONDS)


@contextmanager
def running(
    home: Path,
    *flags: str,
    env: Mapping[str, str] | None = None,
    port: int = 0,
    prefix: tuple[str, ...] = (),
    metrics_at_once: bool = True,
) -> Iterator[Daemon]:
    """Run a daemon for the length of a with block."""
    daemon = start(home, *flags, env=env, port=port, prefix=prefix, metrics_at_once=metrics_at_once)
    try:
        yield daemon
    finally:
        daemon.stop()
