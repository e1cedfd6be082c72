"""How many descriptors a process may have."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import Any

import pytest

from aero_storage.linux.descriptor_limit import MOST, warn_if_low

RAISE = """
import resource, sys
from twisted.internet import {reactor}
from aero_storage.linux.descriptor_limit import raise_limit
soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
raise_limit({reactor}.{name}())
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


class Log:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def event(self, level: str, message: str, fields: Any = {}) -> None:  # noqa: B006
        self.events.append((level, message, dict(fields)))


@pytest.mark.parametrize(
    ("soft", "hard", "reactor", "name", "after"),
    [
        (256, 2000, "epollreactor", "EPollReactor", 2000),
        (2000, 2000, "epollreactor", "EPollReactor", 2000),
        (256, 2000, "selectreactor", "SelectReactor", 1024),
        (1500, 2000, "selectreactor", "SelectReactor", 1500),
    ],
)
def test_raised(soft: int, hard: int, reactor: str, name: str, after: int) -> None:
    """The soft limit becomes the hard one, or for select 1,024, the most that it can watch; it is never lowered."""
    program = RAISE.format(reactor=reactor, name=name)
    done = subprocess.run(
        [sys.executable, "-c", program, str(soft), str(hard)], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split() == [str(after), str(hard)]


def limit_is(monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (soft, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    ("soft", "most", "warned"),
    [
        (64, 4096, True),
        (4096 + 64 + 256 + 127, 4096, True),
        (4096 + 64 + 256 + 128, 4096, False),
        (resource.RLIM_INFINITY, 4096, False),
        (MOST, 0, False),
        (300, 0, True),
    ],
)
def test_warning(monkeypatch: pytest.MonkeyPatch, soft: int, most: int, *, warned: bool) -> None:
    """If descriptors run out before connections are as many as they may be, the log says so, and how to mend it."""
    limit_is(monkeypatch, soft)
    log = Log()
    warn_if_low(log, most, 64, 256)
    assert [level for level, _, _ in log.events] == ["warn"] * warned
    for _, _, fields in log.events:
        assert fields["limit"] == soft < fields["wanted"]
        assert "--max-connections" in fields["remedy"]
