"""The service directory for runit, under a real `runsv`: a copy of it, its env/ pointed at a place of the test."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

PROJECT = Path(__file__).parents[2]
SECONDS = 20
"""For a daemon to start or end, on a machine that does other things too."""


def until(check: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (answer := check()):
        assert time.monotonic() < deadline, f"still {answer!r} after {SECONDS} s"
        time.sleep(0.02)
    return answer


@attrs.frozen
class Service:
    """A service directory that runsv looks after, and what its daemon serves and logs."""

    directory: Path
    images: Path
    log: Path
    port: int

    def sv(self, *words: str, status: int = 0, of: str = "") -> str:
        """Run sv on the service, or on its log; what it printed."""
        command = ["sv", "-w", str(SECONDS), *words, f"{self.directory}{of}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS, check=False)
        assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}{self.lines()}"
        return done.stdout

    @property
    def pid(self) -> int:
        """Of the daemon; 0 if it does not run."""
        return int((self.directory / "supervise/pid").read_text() or 0)

    def status_of(self, path: str) -> int:
        """What a GET is answered with; 0 if nobody does."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError:
            return 0

    def lines(self) -> list[dict[str, Any]]:
        """The log, every line of which is JSON, those that were rotated away included."""
        files = [*sorted(self.log.glob("@*")), self.log / "current"]
        text = "".join(file.read_text() for file in files if file.exists())
        return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]

    def said(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["message"] == message]


@contextmanager
def running(place: Path, **env: str) -> Iterator[Service]:
    """Have runsv run a copy of our directory in `place`, where only env/ differs; in the end nothing is left."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    service = Service(place / "aero-storage", place / "images", place / "log", port)
    shutil.copytree(PROJECT / "etc/runit/aero-storage", service.directory)
    shutil.copy(PROJECT / "etc/aero-storage.toml", place / "aero-storage.toml")
    if not service.images.exists():
        service.images.mkdir()
        (service.images / "disk.img").write_bytes(bytes(4096))
    given = {
        "PREFIX": sys.prefix,
        "RUN_AS": getpass.getuser(),
        "LOG_DIR": str(service.log),
        "READY_URL": f"http://127.0.0.1:{port}/readyz",
        "AERO_STORAGE_CONFIG": str(place / "aero-storage.toml"),
        "AERO_STORAGE_IMAGE_ROOT": str(service.images),
        "AERO_STORAGE_LISTEN_ADDR": f"127.0.0.1:{port}",
    }
    for name, value in (given | env).items():
        (service.directory / "env" / name).write_text(f"{value}\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
    runsv = subprocess.Popen(["runsv", str(service.directory)], env=clean, cwd="/")
    until((service.directory / "supervise/ok").exists)
    until((service.directory / "log/supervise/ok").exists)
    try:
        yield service
    finally:
        runsv.terminate()  # as `sv exit`
        assert runsv.wait(SECONDS) == 0
        assert service.status_of("/healthz") == 0


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., str]) -> Iterator[Service]:
    """One service for most tests."""
    for program in ("runsv", "sv", "chpst", "svlogd"):
        require_tool(program, package="runit")
    with running(tmp_path_factory.mktemp("runit")) as service:
        yield service


@pytest.fixture
def service(kept: Service) -> Service:
    """It runs and is ready, whatever the test before has done."""
    kept.sv("start")
    return kept


def ends_and_comes_back(service: Service, *words: str) -> dict[str, Any]:
    """Have the daemon end by an order of sv; what ./finish has said of it, once the next one is ready."""
    before, endings = service.pid, len(service.said("the daemon has ended"))
    service.sv(*words)
    (ending,) = until(lambda: service.said("the daemon has ended")[endings:])
    until(lambda: service.pid not in (0, before))
    assert service.sv("check").startswith("ok: run:")
    assert service.status_of("/v1/images/disk.img") == 200
    return {name: ending[name] for name in ("level", "status", "signal")}


def test_start(service: Service) -> None:
    """`sv start` is over when the daemon is ready; status and check say so."""
    service.sv("stop")
    assert service.status_of("/healthz") == 0
    assert service.sv("start").startswith("ok: run:")
    assert service.status_of("/readyz") == 200
    status = service.sv("status")
    assert status.startswith("run:")
    assert "log: (pid" in status
    assert service.sv("check").startswith("ok: run:")


def test_check_asks_for_readiness(service: Service) -> None:
    """A daemon that runs but has lost an image fails the check, until the image is back."""
    (service.images / "manifest.json").write_text('[{"id": "disk.img", "file": "disk.img", "name": "Disk"}]')
    service.sv("hup")
    hidden = (service.images / "disk.img").rename(service.images / ".disk.img")
    until(lambda: service.status_of("/readyz") == 503)
    assert "timeout" in service.sv("-w1", "check", status=1)
    assert service.sv("status").startswith("run:")
    hidden.rename(service.images / "disk.img")
    assert service.sv("check").startswith("ok: run:")


def test_what_check_says(service: Service) -> None:
    """Run by hand it names the address and the reason."""
    (service.directory / "env/READY_URL").write_text(f"http://127.0.0.1:{service.port}/nothing\n")
    done = subprocess.run(["./check"], cwd=service.directory, capture_output=True, text=True, check=False)
    (service.directory / "env/READY_URL").write_text(f"http://127.0.0.1:{service.port}/readyz\n")
    assert done.returncode == 1
    assert done.stderr == f"http://127.0.0.1:{service.port}/nothing: HTTP Error 404: Not Found\n"


def test_hangup(service: Service) -> None:
    """`sv hup` has the catalog read again by the daemon that runs."""
    before, loads = service.pid, len(service.said("catalog loaded"))
    service.sv("hup")
    until(lambda: len(service.said("catalog loaded")) > loads)
    assert service.pid == before
    assert service.status_of("/readyz") == 200


def test_term(service: Service) -> None:
    """`sv term` ends the daemon well, and runit starts the next one."""
    assert ends_and_comes_back(service, "term") == {"level": "info", "status": 0, "signal": 0}


def test_kill(service: Service) -> None:
    """One that is killed leaves nothing behind that is in the next one's way; the log says what it died of."""
    assert ends_and_comes_back(service, "kill") == {"level": "error", "status": -1, "signal": signal.SIGKILL}


def test_restart(service: Service) -> None:
    """`sv restart` is over when another daemon is ready."""
    before = service.pid
    assert service.sv("restart").startswith("ok: run:")
    assert service.pid != before
    assert service.status_of("/readyz") == 200


def test_stop(service: Service) -> None:
    """`sv stop` is over when nobody listens any more; nothing has gone wrong, and nobody is started again."""
    since = len(service.lines())
    assert service.sv("stop").startswith("ok: down:")
    assert service.status_of("/healthz") == 0
    assert service.pid == 0
    until(lambda: service.said("the daemon has ended"))
    assert {line["level"] for line in service.lines()[since:]} == {"info"}
    assert service.sv("status").startswith("down:")


def test_limits(service: Service) -> None:
    """Many files may be open, as far as the machine allows, and no core is dumped: it would hold a token."""
    rows = Path(f"/proc/{service.pid}/limits").read_text().splitlines()
    limits = {row[:26].strip(): row[26:].split()[:2] for row in rows}
    soft, hard = limits["Max open files"]
    assert int(soft) == min(65536, int(hard))
    assert limits["Max core file size"][0] == "0"


def test_log(service: Service) -> None:
    """The log is pure JSON, kept as ./config says, and goes on in a new file after a rotation."""
    assert (service.log / "config").read_bytes() == (PROJECT / "etc/runit/aero-storage/log/config").read_bytes()
    service.sv("alarm", of="/log")
    until(lambda: list(service.log.glob("@*.s")))
    service.status_of("/version")
    until(lambda: '"/version"' in (service.log / "current").read_text())


def test_log_of_a_restarted_logger(service: Service) -> None:
    """A logger that is killed loses no line: the pipe outlives it."""
    requests = len(service.said("request complete"))
    service.sv("kill", of="/log")
    for _ in range(20):
        assert service.status_of("/version") == 200
    until(lambda: len(service.said("request complete")) >= requests + 20)


@pytest.fixture
def place(tmp_path: Path, kept: Service) -> Path:  # noqa: ARG001 - runit is there
    """A place for a service of the test's own."""
    return tmp_path


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({"AERO_STORAGE_MAX_RANGE_BYTES": "0"}, "variable AERO_STORAGE_MAX_RANGE_BYTES: '0' is not"),
        ({"PREFIX": "/no/such/place"}, "there is no /no/such/place/bin/twistd: install aero-storage there"),
    ],
    ids=["setting", "place"],
)
def test_cannot_start(place: Path, env: dict[str, str], reason: str) -> None:
    """What keeps a daemon from starting is in the log, as is the status, and it is not tried again at once."""
    with running(place, **env) as service:
        current = service.log / "current"
        until(lambda: current.exists() and "the daemon has ended" in current.read_text())
        first, ending = current.read_text().splitlines()
        assert first.startswith("aero-storage: ")
        assert reason in first
        assert json.loads(ending)["status"] == 1
        assert "finish" in service.sv("status")


def test_workers(place: Path) -> None:
    """Several workers are one service: a kill of the parent takes them along, a TERM of it is the end of all."""
    with running(place, AERO_STORAGE_WORKERS="2") as service:
        service.sv("start")
        killed = ends_and_comes_back(service, "kill")
        assert killed["signal"] == signal.SIGKILL
        started = {line["pid"] for line in service.said("worker started")}
        children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
        assert len(children) == 2
        service.sv("stop")
        until(lambda: not [pid for pid in started | set(map(int, children)) if Path(f"/proc/{pid}").exists()])


def test_as_another_user(kept: Service) -> None:  # noqa: ARG001 - runit is there
    """To root the daemon and its log run as RUN_AS, who gets the directory of the log, and no other right."""
    if os.geteuid() != 0:
        pytest.skip("only root can run it as somebody else")
    readable = ["chpst", "-u", "nobody", sys.executable, "-c", "import aero_storage.service"]
    if subprocess.run(readable, capture_output=True, check=False).returncode:
        pytest.skip(f"nobody may run {sys.executable}, or read our modules")
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(0o755)
        with running(place, RUN_AS="nobody:nogroup") as service:
            (service.directory / "env").chmod(0o700)
            service.sv("start")
            assert service.status_of("/v1/images/disk.img") == 200
            rows = dict(row.split(":", 1) for row in Path(f"/proc/{service.pid}/status").read_text().splitlines())
            nobody = str(service.log.stat().st_uid)
            assert nobody != "0"
            assert rows["Uid"].split() == [nobody] * 4
            assert "0" not in rows["Groups"].split() + rows["Gid"].split()
            assert int(rows["CapEff"], 16) == 0
            assert (service.log / "current").stat().st_uid == int(nobody)
            assert service.log.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "there"])
def test_folder_of_the_cache(require_tool: Callable[..., str], *, is_there: bool) -> None:
    """A folder for the cache is made where there is none, for RUN_AS alone; one that is there stays as it is."""
    require_tool("chpst", package="runit")
    user = "nobody:nogroup" if os.geteuid() == 0 else getpass.getuser()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(0o755)
        cache = place / "cache"
        if is_there:
            cache.mkdir()
            cache.chmod(0o777)
        (place / "bin").mkdir()
        for name, script in (("python", ""), ("twistd", 'touch "$AERO_STORAGE_CACHE_DIR/block"')):
            (place / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
            (place / "bin" / name).chmod(0o755)
        env = {"PATH": os.environ["PATH"], "PREFIX": directory, "RUN_AS": user, "AERO_STORAGE_CACHE_DIR": str(cache)}
        words = [str(PROJECT / "etc/runit/aero-storage/run"), "configured"]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, done.stdout
        assert cache.stat().st_mode & 0o777 == (0o777 if is_there else 0o700)
        assert (cache / "block").stat().st_uid != 0 or os.geteuid() != 0
