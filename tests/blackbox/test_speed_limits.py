"""Limits on speed, with the real daemon: by every way that bytes go."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.blackbox.harness import Daemon

RATE = 1_000_000
SIZE = 1_150_000
"""A burst, and a second's worth."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an image."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "big.img").write_bytes(bytes(range(230)) * (SIZE // 230))
    return tmp_path


def seconds(daemon: Daemon, size: int, step: int) -> float:
    """How long it takes to get `size` bytes by ranges of `step` bytes, one after the other, on one connection."""
    began = time.monotonic()
    with daemon.dial() as conn:
        for first in range(0, size, step):
            conn.send(head("GET", "/v1/images/big.img", {"Range": f"bytes={first}-{first + step - 1}"}))
            reply = conn.reply("GET")
            assert reply.status == 206
            assert reply.body == (bytes(range(230)) * (size // 230))[first : first + step]
    return time.monotonic() - began


@pytest.mark.parametrize("express", ["--express", "--no-express"])
@pytest.mark.parametrize("step", [SIZE, 50_000, 5_000])
def test_each_connection(place: Path, express: str, step: int) -> None:
    """By a large response as by many small ones: a second's worth takes a second, and not much longer."""
    flags = ("--max-bytes-per-second", str(RATE), "--stall-timeout-secs", "0.5", express)
    with running(place, *flags) as daemon:
        assert 0.9 < seconds(daemon, SIZE, step) < 10


def test_all_connections(place: Path) -> None:
    """All connections together keep to the limit for all, and each gets its part."""
    with running(place, "--max-total-bytes-per-second", str(RATE)) as daemon, ExitStack() as stack:
        began = time.monotonic()
        conns = [stack.enter_context(daemon.dial()) for _ in range(5)]
        for conn in conns:
            conn.send(head("GET", "/v1/images/big.img", {"Range": f"bytes=0-{SIZE // 5 - 1}"}))
        assert [len(conn.reply("GET").body) for conn in conns] == [SIZE // 5] * 5
        assert 0.9 < time.monotonic() - began < 10
