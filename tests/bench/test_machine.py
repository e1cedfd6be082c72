"""Cores, and the kernel's texts about processes."""

from __future__ import annotations

import os

import pytest
from bench.client import Head, parse_head, request
from bench.errors import BenchError
from bench.machine import Cores, choose_cores, parse_cpu_list
from bench.processes import parse_amount, parse_busy, parse_stat


@pytest.mark.parametrize(
    ("available", "siblings", "expected"),
    [
        ({0, 1}, {}, Cores("0", "1", "0,1")),
        ({0, 1, 2, 3}, {0: {0, 1}}, Cores("0", "2", "0,2")),
        ({4, 5}, {4: {4, 5}}, Cores("4", "5", "4,5")),
        ({3}, {3: {3}}, Cores("3", "3", "3")),
    ],
)
def test_cores(available: set[int], siblings: dict[int, set[int]], expected: Cores) -> None:
    """Server and load get cores that share no execution units, where there are such."""
    assert choose_cores(available, siblings) == expected


@pytest.mark.parametrize(("text", "expected"), [("0\n", {0}), ("0-2,5\n", {0, 1, 2, 5}), ("1,3", {1, 3})])
def test_cpu_list(text: str, expected: set[int]) -> None:
    """The kernel's lists of cores are understood."""
    assert parse_cpu_list(text) == expected


def test_stat() -> None:
    """A program may be called anything; its time is its own and that of its ended children."""
    ticks = os.sysconf("SC_CLK_TCK")
    text = f"7 (a) b ) S 4 7 7 0 -1 0 1 2 3 4 {ticks} {2 * ticks} {3 * ticks} {4 * ticks} 20 0 1"
    assert parse_stat(text) == (4, 10.0)


def test_busy() -> None:
    """Idle and waiting are no work; what the hypervisor takes is as good as work."""
    ticks = os.sysconf("SC_CLK_TCK")
    row = f"{ticks} {ticks} {ticks} {50 * ticks} {60 * ticks} {ticks} {ticks} {ticks} 7 0"
    text = f"cpu  1 2 3 4 5 6 7 8 9 0\ncpu0 {row}\ncpu1 {row}\ncpu10 {row}\nintr 9\n"
    assert parse_busy(text, "0,1") == 12.0
    assert parse_busy(text, "1") == 6.0


@pytest.mark.parametrize(
    ("name", "expected"), [("Rss", 12 * 1024), ("Pss", 7 * 1024), ("read_bytes", 4096), ("Nothing", 0)]
)
def test_amount(name: str, expected: int) -> None:
    """Amounts are bytes, whatever the unit in the text."""
    lines = [
        "00400000-7ffc ---p 00000000 00:00 0 [rollup]",
        "Rss:       12 kB",
        "Pss:        7 kB",
        "read_bytes: 4096",
    ]
    text = "\n".join([*lines, ""])
    assert parse_amount(text, name) == expected


def test_request() -> None:
    """A range is given by its first byte and its length."""
    assert b"\r\nRange: bytes=10-14\r\n\r\n" in request("/x", (10, 5))
    assert b"Range" not in request("/x")


def test_head() -> None:
    """A head is read once it is complete, and what follows belongs to the body."""
    text = b"HTTP/1.1 206 Partial Content\r\nContent-Type: a\r\ncontent-length: 12\r\n\r\nabc"
    assert parse_head(text[:-4]) is None
    assert parse_head(text) == Head(206, 12, b"abc")


@pytest.mark.parametrize("text", [b"HTTP/1.1 200 OK\r\n\r\n", b"SSH-2.0\r\nContent-Length: 1\r\n\r\n"])
def test_bad_head(text: bytes) -> None:
    """What declares no length cannot be measured."""
    with pytest.raises(BenchError, match="not a response"):
        parse_head(text)
