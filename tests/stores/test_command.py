"""`python -m tools.stores`: a store for a person or a program, until it is interrupted or killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stores.fixtures import require
from tools.stores import azurite
from tools.stores.signing import AzureKey, send

PROJECT = Path(__file__).parents[2]
SECONDS = 30
VARIABLE = re.compile(r"^export (\w+)=(\S+)$")


@pytest.fixture
def command(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command with Azurite, which is the quickest to start."""
    require(azurite.missing())
    words = [
        sys.executable,
        "-m",
        "tools.stores",
        "azurite",
        "--bucket",
        "pictures",
        "--home",
        str(tmp_path / "home"),
    ]
    process = subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def printed(command: subprocess.Popen[str]) -> dict[str, str]:
    assert command.stdout is not None
    found = (VARIABLE.match(command.stdout.readline()) for _ in range(4))
    return {match[1]: match[2] for match in found if match}


def answers(variables: dict[str, str]) -> int:
    key = AzureKey(variables["AZURE_STORAGE_ACCOUNT_NAME"], variables["AZURE_STORAGE_ACCOUNT_KEY"].strip("'"))
    url = f"{variables['AZURE_STORAGE_ENDPOINT']}/pictures?restype=container"
    try:
        return send("GET", url, key.headers("GET", url)).status
    except OSError:
        return 0


def test_until_interrupted(command: subprocess.Popen[str], tmp_path: Path) -> None:
    """It prints what clients need, has made the bucket, and leaves nothing when it is interrupted."""
    variables = printed(command)
    assert variables["AERO_STORAGE_IMAGE_ROOT"] == "az://pictures"
    assert answers(variables) == 200
    command.send_signal(signal.SIGINT)
    assert command.wait(SECONDS) == 0
    assert not (tmp_path / "home").exists()
    assert answers(variables) == 0


def test_killed(command: subprocess.Popen[str]) -> None:
    """If it is killed, so is the store: no process is left behind."""
    variables = printed(command)
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
    assert len(children) == 1
    command.kill()
    command.wait(SECONDS)
    deadline = time.monotonic() + SECONDS
    while is_running(int(children[0])):
        assert time.monotonic() < deadline, "the store runs on"
        time.sleep(0.02)
    assert answers(variables) == 0


def is_running(process_id: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except FileNotFoundError:
        return False


def test_not_installed() -> None:
    """What is not installed is said in one line, with what to do about it."""
    words = [sys.executable, "-m", "tools.stores", "ceph"]
    environment = {**os.environ, "PATH": "/nonexistent"}
    done = subprocess.run(
        words, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"ceph is not installed \(Debian: apt-get install .*\)\n", done.stderr)


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_missing_stores(monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]) -> None:
    """A test whose store is not installed fails in CI, and is skipped on a user's machine, with the reason."""
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=r"^SeaweedFS is not installed"):
        require("SeaweedFS is not installed (make stores)")
