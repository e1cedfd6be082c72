"""`aero-storage serve`: the daemon in the foreground, as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.request import Request, urlopen

import attrs
import pytest
from tests.blackbox.harness import until

from aero_storage.cli.commands.serve import tell_addresses
from aero_storage.cli.output import Output
from aero_storage.cli.qr_code import qr_rows
from aero_storage.cli.served_urls import lan_hosts, served_urls
from aero_storage.service.listening.endpoints import Address

if TYPE_CHECKING:
    from collections.abc import Iterator


PROGRAM = str(Path(sys.executable).with_name("aero-storage"))
SIZE = 70_000


@attrs.define
class Serving:
    process: subprocess.Popen[str]
    begun: list[str]

    @property
    def url(self) -> str:
        return next(line.strip() for line in self.begun if line.startswith("  http"))

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        with urlopen(Request(self.url + path, headers=headers), timeout=60) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()

    def ended(self, number: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=120)
        return self.process.returncode, rest


def lines_until(output: IO[str], last: str) -> list[str]:
    lines: list[str] = []
    for line in output:
        lines.append(line.rstrip("\n"))
        if last in line:
            return lines
    raise AssertionError(lines)


@contextmanager
def process(root: Path, *flags: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
    words = [PROGRAM, "serve", str(root), *flags]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ, cwd=cwd or root
    ) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                started.kill()


@contextmanager
def serving(root: Path, *flags: str) -> Iterator[Serving]:
    with process(root, "--port", "0", *flags) as started:
        assert started.stdout is not None
        yield Serving(started, lines_until(started.stdout, "Ctrl-C ends it."))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "images root"
    directory.mkdir()
    (directory / "disk.img").write_bytes(os.urandom(SIZE))
    return directory


def test_serves_a_directory(root: Path) -> None:
    """Without a catalog every image of the directory is served, at the URL that is shown, to this machine alone."""
    with serving(root) as served:
        assert f"Serving {root}" in served.begun
        assert [line for line in served.begun if "://" in line] == [f"  {served.url}"]
        assert served.url.startswith("http://127.0.0.1:")
        status, _, body = served.get("v1/images/disk.img", Range="bytes=5-104")
        assert (status, body) == (206, (root / "disk.img").read_bytes()[5:105])
        status, rest = served.ended(signal.SIGINT)
    assert status == 0
    assert "206 GET /v1/images/disk.img  100 B" in rest
    assert '"timestamp"' not in rest


def test_files_that_are_left_out(root: Path) -> None:
    """A file whose name is no id of an image is told of with the reason, where a catalog does not name the images."""
    (root / "Windows 98.img").write_bytes(bytes(512))
    with serving(root) as served:
        _, rest = served.ended(signal.SIGINT)
    assert "warning: Windows 98.img: left out: its name is no image id" in rest
    (root / "manifest.json").write_text('{"images": []}')
    with serving(root) as served:
        _, rest = served.ended(signal.SIGINT)
    assert "left out" not in rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ends_cleanly(root: Path, number: signal.Signals) -> None:
    """Ctrl-C, a kill and a terminal that is closed end it with status 0 and without a traceback."""
    with serving(root) as served:
        status, rest = served.ended(number)
    assert (status, "Traceback" in rest) == (0, False)
    assert f"stopping  signal={number.name}" in rest


def test_second_interrupt_ends_at_once(root: Path) -> None:
    """A response under way has a grace after Ctrl-C, which a second Ctrl-C ends."""
    with (root / "big.img").open("wb") as big:
        big.truncate(1 << 30)
    with serving(root, "--shutdown-grace-secs", "300") as served, socket.socket() as slow:
        slow.connect(("127.0.0.1", served.port))
        slow.sendall(b"GET /v1/images/big.img HTTP/1.1\r\nHost: x\r\n\r\n")
        slow.recv(1)
        served.process.send_signal(signal.SIGINT)
        assert served.process.stdout is not None
        lines_until(served.process.stdout, "draining  responses=1")
        status, rest = served.ended(signal.SIGINT)
    assert (status, "stopping at once" in rest) == (0, True)


def test_takes_settings(root: Path) -> None:
    """Each setting is a flag, also of lists and of booleans, and works as with the daemon."""
    flags = ("--cors-origin", "https://a.example", "--cors-origin", "https://b.example", "--disable-metrics")
    with serving(root, *flags, "--no-page", "--workers", "2") as served:
        _, headers, _ = served.get("v1/images", Origin="https://b.example")
        assert headers["access-control-allow-origin"] == "https://b.example"
        with pytest.raises(OSError, match="404"):
            served.get("metrics")
        with pytest.raises(OSError, match="404"):
            served.get("client/aero-disk.js")
        status, rest = served.ended(signal.SIGINT)
    assert status == 0
    assert "worker=2" in rest


def test_json_log(root: Path) -> None:
    """With --json the lines are those of the daemon, and nothing else is written."""
    with process(root, "--port", "0", "--json") as started:
        assert started.stdout is not None
        lines = lines_until(started.stdout, '"listening"')
        started.send_signal(signal.SIGINT)
        rest, _ = started.communicate(timeout=120)
    documents = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    assert {"settings", "listening", "stopping"} <= {one["message"] for one in documents}
    assert started.returncode == 0


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    """A control character in a name reaches the terminal escaped only."""
    root = tmp_path / "a\x1b[31mb"
    root.mkdir()
    with serving(root) as served:
        assert any(line.endswith("a\\x1b[31mb") for line in served.begun)
        _, rest = served.ended(signal.SIGINT)
    assert "\x1b" not in rest


def test_port_in_use(root: Path) -> None:
    """A port in use is one line that names the address and the way out, and status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with process(root, "--port", str(port)) as started:
            said, _ = started.communicate(timeout=120)
    assert started.returncode == 1
    assert said == (
        f"aero-storage: flag --listen-addr: cannot listen at 127.0.0.1:{port}: Address already in use; "
        "--port 0 takes a port that is free\n"
    )


def test_missing_root(tmp_path: Path) -> None:
    """A root that is not there is one line, and status 1; it is not created."""
    with process(tmp_path / "nowhere", cwd=tmp_path) as started:
        said, _ = started.communicate(timeout=120)
    assert started.returncode == 1
    assert said.count("\n") == 1
    assert f"{tmp_path}/nowhere cannot be used as images root: No such file or directory" in said
    assert not (tmp_path / "nowhere").exists()


def test_root_that_is_a_file(root: Path) -> None:
    """A file is no images root."""
    with process(root / "disk.img", cwd=root) as started:
        said, _ = started.communicate(timeout=120)
    assert (started.returncode, "Not a directory" in said, said.count("\n")) == (1, True, 1)


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (("--listen-addr", "127.0.0.1:0", "--lan"), "leave --port, --lan and --qr out"),
        (("--port", "70000"), "--port"),
        (("--workers", "x"), "--workers"),
    ],
)
def test_wrong_flags(root: Path, flags: tuple[str, ...], fault: str) -> None:
    """A wrong flag is told, and nothing is served."""
    with process(root, *flags) as started:
        said, _ = started.communicate(timeout=120)
    assert started.returncode in {1, 2}
    assert fault in said


def test_help_shows_few_of_the_settings(root: Path) -> None:
    """The help explains the settings that one tries things with, and leaves the others to their reference."""
    with process(root, "--help") as started:
        said, _ = started.communicate(timeout=120)
    assert "--virtual-chunk-bytes" in said
    assert "--origin-stale-secs" not in said


def test_urls_of_an_address() -> None:
    """An address of this machine is one URL, in brackets for IPv6, by https with TLS; a UNIX socket has none."""
    assert [one.url for one in served_urls("127.0.0.1:80", is_secure=False)] == ["http://127.0.0.1:80/"]
    assert [one.url for one in served_urls("[::1]:80", is_secure=True)] == ["https://[::1]:80/"]
    assert [one.url for one in served_urls("unix:/run/aero", is_secure=False)] == ["unix:/run/aero"]
    (other,) = served_urls("192.0.2.9:80", is_secure=False)
    assert other.is_reachable


def test_urls_of_every_address() -> None:
    """Where every address is listened at, this machine's comes first, then that of its network, if it has one."""
    own, *others = served_urls("0.0.0.0:8080", is_secure=False)
    assert (own.url, own.is_reachable) == ("http://127.0.0.1:8080/", False)
    assert [one.url for one in others] == [f"http://{host}:8080/" for host in lan_hosts(socket.AF_INET)]
    assert all(one.is_reachable for one in others)


def test_qr_code_has_its_marks() -> None:
    """The code has a quiet zone of four modules, and the finder pattern in three corners."""
    rows = qr_rows("http://192.0.2.9:8080/")
    assert {len(row) for row in rows} == {33}
    assert [row.strip() for row in rows[:2]] == ["", ""]
    for row, finder in zip(rows[2:6], ("█▀▀▀▀▀█", "█ ███ █", "█ ▀▀▀ █", "▀▀▀▀▀▀▀"), strict=True):
        assert (row[4:11], row[-11:-4]) == (finder, finder)
    assert rows[-6].startswith("    █▀▀▀▀▀█") or rows[-7].startswith("    █▀▀▀▀▀█")


def test_qr_on_request(root: Path) -> None:
    """--qr listens at every address, and shows the code of the network's URL, or says that there is none."""
    with process(root, "--port", "0", "--qr") as started:
        assert started.stdout is not None
        lines = lines_until(started.stdout, "Ctrl-C ends it.")
        urls = [line.strip() for line in lines if "://" in line]
        expected = qr_rows(urls[-1]) if len(urls) > 1 else ["aero-storage: this machine has no address"]
        shown = [next(started.stdout).rstrip("\n") for _ in expected]
        started.send_signal(signal.SIGINT)
        started.communicate(timeout=120)
    assert [row[:20] for row in shown] == [row[:20] for row in expected]


def test_qr_code_needs_its_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal that is too narrow for the code is told of it: a code with broken rows is none."""
    for columns, shown in ((32, False), (33, True)):
        monkeypatch.setenv("COLUMNS", str(columns))
        tell_addresses(Output(), "images", (Address("192.0.2.9:8080", is_secure=False),), with_code=True)
        out, err = capsys.readouterr()
        assert ("█▀▀▀▀▀█" in out, "the QR code has 33 columns, and this terminal 32" in err) == (shown, not shown)


def test_output_that_takes_nothing(root: Path) -> None:
    """Where the addresses cannot be written, it ends with one line: nobody would know of the daemon."""
    words = [PROGRAM, "serve", str(root), "--port", "0"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "cannot be written to standard output: No space left on device; it served" in done.stderr


@contextmanager
def piped(root: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    words = [PROGRAM, "serve", str(root), "--port", "0", *flags]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                started.kill()


UNREAD = "aero-storage: nobody reads the output any more; ending, as by Ctrl-C\n"


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_reader_that_goes_away(root: Path, flags: tuple[str, ...]) -> None:
    """Behind `| head -1` it ends with status 0 and says why, without a request that would write a line."""
    with piped(root, *flags) as started:
        assert started.stdout is not None
        next(started.stdout)
        started.stdout.close()
        assert started.stderr is not None
        assert started.stderr.read() == UNREAD
        assert started.wait(120) == 0


@pytest.mark.parametrize("flags", [(), ("--json",), ("--qr",)])
def test_reader_of_both_streams_that_goes_away(root: Path, flags: tuple[str, ...]) -> None:
    """Behind `2>&1 | head -1` it ends with status 0, though nobody can be told why."""
    with process(root, "--port", "0", *flags) as started:
        assert started.stdout is not None
        next(started.stdout)
        started.stdout.close()
        assert started.wait(20) == 0


def test_responses_end_well_without_a_reader(root: Path) -> None:
    """A response under way when the reader goes has the grace of Ctrl-C, and ends whole."""
    length = 64 << 20
    with (root / "big.img").open("wb") as big:
        big.truncate(length)
    with piped(root, "--shutdown-grace-secs", "60") as started, socket.socket() as slow:
        assert started.stdout is not None
        url = next(line.strip() for line in lines_until(started.stdout, "Ctrl-C ends it.") if "http://" in line)
        slow.connect(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2])))
        slow.sendall(b"GET /v1/images/big.img HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head = slow.recv(4096).partition(b"\r\n\r\n")
        started.stdout.close()
        assert started.stderr is not None
        assert started.stderr.readline() == UNREAD
        received = len(head[2])
        while piece := slow.recv(1 << 20):
            received += len(piece)
        assert received == length
        assert started.wait(120) == 0


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_streams_that_are_closed(root: Path) -> None:
    """Without standard streams it serves all the same, and none of its files is at their descriptors."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    closing = 'exec "$@" <&- >&- 2>&-'
    with subprocess.Popen(["sh", "-c", closing, "sh", PROGRAM, "serve", str(root), "--port", port]) as started:
        try:
            until(lambda: is_open(int(port)), 60)
            standard = [Path(f"/proc/{started.pid}/fd/{number}").readlink() for number in range(3)]
            with urlopen(f"http://127.0.0.1:{port}/v1/images/disk.img", timeout=60) as answer:
                assert answer.read() == (root / "disk.img").read_bytes()
        finally:
            started.send_signal(signal.SIGINT)
            status = started.wait(120)
    assert (status, standard) == (0, [Path(os.devnull)] * 3)
