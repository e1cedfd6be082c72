"""The units for systemd: what systemd's own program says of them, and that the daemon does what they name."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aero_storage.settings import Settings
from aero_storage.workers.supervisor import KILL_SECONDS, STOP_SECONDS

UNITS = Path(__file__).parents[2] / "etc/systemd"
BINARIES = Path(sys.executable).parent
MOST_EXPOSED = 20
"""Of 100, as `systemd-analyze security` rates what a daemon that was taken over could do."""
SECONDS = 20


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((UNITS / name).read_text(encoding="utf-8"))
    return parser


SERVICE = unit("aero-storage.service")["Service"]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory with the units, whose daemon is the one that is tested."""
    for source in UNITS.iterdir():
        text = source.read_text(encoding="utf-8").replace("/opt/aero-storage/bin", str(BINARIES))
        (tmp_path / source.name).write_text(text, encoding="utf-8")
    return tmp_path


def analyze(require_tool: Callable[..., str], *words: str | Path) -> str:
    program = require_tool("systemd-analyze", package="systemd")
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_verify(installed: Path, require_tool: Callable[..., str]) -> None:
    """Systemd understands every line of the units, and finds all that they name."""
    said = analyze(require_tool, "verify", installed / "aero-storage.service", installed / "aero-storage.socket")
    assert str(installed) not in said


def test_verify_finds_faults(installed: Path, require_tool: Callable[..., str]) -> None:
    """A line that it does not understand would show."""
    service = installed / "aero-storage.service"
    service.write_text(service.read_text().replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"))
    assert "NoNewPrivilege" in analyze(require_tool, "verify", service)


def test_exposure(installed: Path, require_tool: Callable[..., str]) -> None:
    """Little is open to a daemon that was taken over."""
    limit = f"--threshold={MOST_EXPOSED}"
    analyze(require_tool, "security", "--offline=yes", "--no-pager", limit, installed / "aero-storage.service")


def test_time_to_stop() -> None:
    """Systemd kills later than we do, and than streams have for their end."""
    settings = Settings()
    grace = getattr(settings, "shutdown_grace_secs", 30) + getattr(settings, "drain_delay_secs", 0)
    assert int(SERVICE["TimeoutStopSec"]) > grace + STOP_SECONDS + KILL_SECONDS


def test_command(tmp_path: Path) -> None:
    """What the unit starts, with what systemd passes, serves, is ready, reloads as ExecReload says, and stops."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/disk.img").write_bytes(bytes(4096))
    shutil.copy(UNITS.parent / "aero-storage.toml", tmp_path)
    command = shlex.split(SERVICE["ExecStart"].replace("/opt/aero-storage/bin", str(BINARIES)))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
    given = SERVICE["Environment"].replace("/etc/", f"{tmp_path}/").replace("/srv/aero-storage/", f"{tmp_path}/")
    env = clean | dict(pair.split("=", 1) for pair in given.split()) | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    script = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3)\n"
        'os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "aero-storage.socket"}\n'
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as passed,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        (tmp_path / "log").open("wb") as log,
    ):
        manager.bind(env["NOTIFY_SOCKET"])
        manager.settimeout(SECONDS)
        number = passed.fileno()
        words = [sys.executable, "-c", script, str(number), *command]
        process = subprocess.Popen(words, cwd="/", env=env, pass_fds=[number], stdout=log, stderr=log)
        try:
            assert manager.recv(4096).startswith(b"READY=1"), (tmp_path / "log").read_text()
            with socket.create_connection(passed.getsockname(), SECONDS) as client:
                client.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                assert client.recv(15) == b"HTTP/1.1 200 OK"
            reload = shlex.split(SERVICE["ExecReload"].replace("$MAINPID", str(process.pid)))
            subprocess.run(reload, check=True, timeout=SECONDS)
            assert [manager.recv(4096).partition(b"=")[0] for _ in range(2)] == [b"RELOADING", b"READY"]
            process.send_signal(signal.SIGTERM)
            assert manager.recv(4096).startswith(b"STOPPING=1")
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            process.wait()


def test_where_it_listens() -> None:
    """The socket is where the daemon would listen by default."""
    assert unit("aero-storage.socket")["Socket"]["ListenStream"] == str(Settings().listen_addr)
