"""Commands that run at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "side_by_side.py"
SECONDS = 20


def run(*commands: str) -> subprocess.CompletedProcess[str]:
    done = [sys.executable, str(TOOL), *commands]
    return subprocess.run(done, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.mark.parametrize(
    ("statuses", "expected"), [((0, 0), 0), ((0, 3), 3), ((4, 0), 4), ((5, 6), 5), ((0, 0, 7), 7), ((), 0)]
)
def test_status(statuses: tuple[int, int], expected: int) -> None:
    """One failure is a failure of all."""
    assert run(*(f"exit {status}" for status in statuses)).returncode == expected


def test_output(tmp_path: Path) -> None:
    """Nothing is lost, and the others stand behind the first; they run at once, or the pipe would stay closed."""
    pipe = tmp_path / "pipe"
    done = run(
        f"mkfifo {pipe}.1; mv {pipe}.1 {pipe}; cat {pipe}",
        f"until [ -p {pipe} ]; do :; done; echo one >{pipe}; echo two",
    )
    assert done.stdout.splitlines()[0] == "one"
    assert done.stdout.splitlines()[-1] == "two"


def test_three_at_a_time(tmp_path: Path) -> None:
    """Three run at once, and the next begins when one of them ends: the first has to wait for the last."""
    last = tmp_path / "last"
    waits = f"until [ -e {last} ]; do sleep 0.02; done"
    done = run(
        f"{waits}; echo first",
        f"sleep 0.2; [ ! -e {last} ] && echo second",
        f"{waits}; echo third",
        f"touch {last}; echo last",
    )
    assert done.returncode == 0
    words = ["first", "second", "third", "last"]
    assert [line for line in done.stdout.splitlines() if line in words] == words
    assert done.stderr.splitlines()[1].endswith(f"s: ended with 0: sleep 0.2; [ ! -e {last} ] && echo second]")


def test_signals_are_not_ignored() -> None:
    """SIGINT has its usual effect in each of them."""
    show = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    told = run(*[f'{sys.executable} -c "{show}"'] * 2).stdout.split()
    assert told.count("True") == 2


def test_end(tmp_path: Path) -> None:
    """A signal ends all of them, and starts no other."""
    ready, last = tmp_path / "ready", tmp_path / "last"
    commands = [
        f"trap 'echo ended >{ready}.{one}; exit 1' INT; touch {ready}.{one}; while :; do sleep 0.05; done"
        for one in (1, 2, 3)
    ] + [f"touch {last}"]
    with subprocess.Popen([sys.executable, str(TOOL), *commands]) as process:
        while not all(ready.with_suffix(f".{one}").exists() for one in (1, 2, 3)):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 128 + signal.SIGTERM
    assert [ready.with_suffix(f".{one}").read_text(encoding="utf-8") for one in (1, 2, 3)] == ["ended\n"] * 3
    assert not last.exists()
