"""Figures as lines of a screen and of a log."""

from __future__ import annotations

import json

import attrs
import pytest

from aero_storage.cli.top.exposition import parse_exposition
from aero_storage.cli.top.figures import Cache, Delays, Figures, Origin, figures_of
from aero_storage.cli.top.layout import line, screen, sparkline, whole

IDLE = figures_of(None, parse_exposition("aero_storage_places_limit 64\n"), 1.0)
BUSY = attrs.evolve(
    IDLE,
    places_taken=12,
    requests_per_second={"206": 120.0, "404": 1.25},
    bytes_per_second=120 * 1024 * 1024,
    delays=Delays(0.0012, 1.5),
    images={"win98": 1024.0, "os2": 512.0},
    cache=Cache(0.982, 512, 1024, 0),
    origin=Origin(is_up=False, requests_per_second=12, failures_per_second=1, bytes_per_second=2048, delays=Delays()),
)


@pytest.mark.parametrize("figures", [IDLE, BUSY])
@pytest.mark.parametrize("width", [20, 49, 50, 80, 200])
def test_lines_fit(figures: Figures, width: int) -> None:
    """No line is wider than the screen, and none is lost on a high one."""
    lines = screen(figures, "http://x   aero-storage 0.2.0", [1.0] * 300, width, 1000)
    assert max(map(len, lines)) <= width
    words = {word for shown in screen(figures, "", (), 200, 1000) for word in shown.split()}
    if width >= 40:
        assert words <= {word for shown in lines for word in shown.split()}


@pytest.mark.parametrize("width", [60, 80])
def test_whole_lines(width: int) -> None:
    """What is printed once fits, too, and a name that does not has a line to itself, of which nothing is cut."""
    url, name = "http://images.example.com:8080/" + "p" * 60, "n" * 100
    lines = whole(attrs.evolve(BUSY, images={name: 1.0}), f"{url}   aero-storage 0.2.0   12:34:56", (), width)
    assert url in lines
    assert lines[-1].split()[-1] == name
    assert [len(one) <= width or one.strip() in {url, name} for one in lines] == [True] * len(lines)


def test_height() -> None:
    """A low screen has the first lines."""
    assert screen(BUSY, "heading", (), 80, 4) == screen(BUSY, "heading", (), 80, 1000)[:4]


def test_screen_of_a_busy_daemon() -> None:
    """Each figure is on the screen, in its unit."""
    shown = screen(BUSY, "heading", (), 100, 100)
    assert shown[:2] == ["heading", ""]
    assert "places       12 of 64 taken   queue 0   without place 0" in shown
    assert "requests     121/s   206 120/s   404 1.2/s" in shown
    assert "bytes        120 MiB/s" in shown
    assert "latency      median 1.2 ms   p99 1.5 s" in shown
    assert "cache        98.2 % hits   512 B of 1 KiB   evicted 0 B/s" in shown
    assert "origin       AWAY   12.0/s   2 KiB/s   median -   p99 -   failed 1.0/s" in shown
    assert shown[-2:] == ["images       1 KiB/s   win98", "             512 B/s   os2"]


def test_sparkline() -> None:
    """The highest value has the highest bar, no value the lowest, and the last ones are kept."""
    assert sparkline([0, 5, 10], 80) == "▁▅█"
    assert sparkline([10, 0, 10], 2) == "▁█"
    assert sparkline([0, 0], 80) == "▁▁"
    assert sparkline([], 80) == ""


def test_line() -> None:
    """A log has the most important figures in one line."""
    assert line(BUSY) == (
        "121 requests/s  120 MiB/s  places 12/64  queue 0  connections 0  p99 1.5 s  429 0.0/s  "
        "broken off 0.0/s  hits 98.2 %  origin AWAY"
    )


@pytest.mark.parametrize("value", ["1.7e308", "-1.7e308", "1e25", "NaN", "+Inf"])
def test_figures_of_absurd_values(value: str) -> None:
    """Values that no daemon has count as 0: nothing overflows, and the document is one of JSON."""
    names = ("image_bytes_served_total", "aero_storage_connections", "process_resident_memory_bytes")
    delays = 'http_request_duration_seconds_bucket{le="1e308"} 9\nhttp_request_duration_seconds_bucket{le="+Inf"} 9\n'
    page = "".join(f'{name}{{a="{label}"}} {value}\n' for name in names for label in (1, 2)) + delays
    figures = figures_of(parse_exposition("up 1\n"), parse_exposition(page), 0.2)
    lines = screen(figures, "", [1.0, figures.bytes_per_second], 80, 100)
    assert "bytes        0 B/s" in lines
    assert json.loads(json.dumps(attrs.asdict(figures), allow_nan=False))["connections"] == 0
