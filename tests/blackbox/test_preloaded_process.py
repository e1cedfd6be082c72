"""A forked daemon is as one that was started for itself."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import TWISTD, command, daemon_environment, running
from tests.blackbox.preloaded_process import ForkedProcess, fork, may_be_forked

if TYPE_CHECKING:
    from collections.abc import Mapping


def forked(home: Path, words: list[str], env: Mapping[str, str] | None = None) -> ForkedProcess:
    """Fork one whose output goes to two files."""
    with (home / "stdout").open("wb") as out, (home / "stderr").open("wb") as err:
        return fork(words, home, daemon_environment(env, metrics_at_once=True), out, err)


@pytest.mark.parametrize(
    ("flags", "env"),
    [
        (["--nonsense"], {}),
        (["--images-root", "missing", "--listen-addr", "127.0.0.1:0"], {}),
        (["--help"], {}),
        ([], {"AERO_STORAGE_IMAGE_ROOT": "/missing", "AERO_STORAGE_MAX_RANGE_BYTES": "many"}),
    ],
)
def test_says_and_returns_the_same(tmp_path: Path, flags: list[str], env: dict[str, str]) -> None:
    """Arguments, variables, directory, output and exit status."""
    words = command(tmp_path, *flags)
    status = forked(tmp_path, words, env).wait(20.0)
    said = (tmp_path / "stdout").read_bytes(), (tmp_path / "stderr").read_bytes()
    environ = daemon_environment(env, metrics_at_once=True)
    started = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert (started.returncode, started.stdout, started.stderr) == (status, *said)
    assert any(said)


def test_ends_by_signals(tmp_path: Path) -> None:
    """It is waited for as a child is, and a signal to one that has ended goes nowhere."""
    with running(tmp_path) as daemon:
        process = daemon.process
        assert isinstance(process, ForkedProcess)
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.0)
        process.kill()
        assert process.wait(10.0) == process.poll() == -signal.SIGKILL
        process.send_signal(signal.SIGKILL)


def test_threads_may_ask_at_once_how_it_ended(tmp_path: Path) -> None:
    """All get the status; the Python that forks goes on."""
    process = forked(tmp_path, command(tmp_path, "--help"))
    process.wait(20.0)
    others = [ForkedProcess(process.args, process.pid, process._loader) for _ in range(2)]  # noqa: SLF001
    assert [other.poll() for other in others] == [0, 0]


def test_waits_beside_many_open_files(tmp_path: Path) -> None:
    """Descriptors of any number are waited for."""
    with ExitStack() as files:
        for _ in range(1100):
            files.enter_context(Path(os.devnull).open("rb"))
        assert forked(tmp_path, command(tmp_path, "--help")).wait(20.0) == 0


def test_two_have_ids_of_their_own(tmp_path: Path) -> None:
    """What is drawn at random when a module is loaded is drawn anew."""
    homes = tmp_path / "one", tmp_path / "two"
    ids = set()
    for home in homes:
        home.mkdir()
        with running(home) as daemon:
            ids.add(daemon.ask("/health")["X-Request-Id"])
    assert len(ids) == 2


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PYTHONHASHSEED", "TZ", "LC_ALL"])
def test_what_works_at_the_start_of_a_process(name: str) -> None:
    """Such a daemon is started for itself."""
    assert not may_be_forked({name: "1"})
    assert may_be_forked({"AERO_STORAGE_PUBLIC": "1"})
    assert TWISTD.exists()
