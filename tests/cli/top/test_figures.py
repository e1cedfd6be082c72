"""Figures of two looks at a daemon."""

from __future__ import annotations

import pytest

from aero_storage.cli.top.exposition import Exposition, parse_exposition
from aero_storage.cli.top.figures import figures_of, quantile

BEFORE = """
process_start_time_seconds 1000
http_requests_total{route="/v1/images/:image_id",method="GET",status="206"} 10
http_requests_total{route="/metrics",method="GET",status="200"} 5
image_bytes_served_total{image_id="win98"} 1000
image_bytes_served_total{image_id="os2"} 7
http_request_duration_seconds_bucket{route="/v1/images/:image_id",method="GET",le="0.01"} 4
http_request_duration_seconds_bucket{route="/v1/images/:image_id",method="GET",le="0.1"} 10
http_request_duration_seconds_bucket{route="/v1/images/:image_id",method="GET",le="+Inf"} 10
http_request_duration_seconds_bucket{route="/metrics",method="GET",le="0.01"} 0
http_request_duration_seconds_bucket{route="/metrics",method="GET",le="0.1"} 0
http_request_duration_seconds_bucket{route="/metrics",method="GET",le="+Inf"} 5
process_cpu_seconds_total 3
"""
NOW = """
process_start_time_seconds 1000
aero_storage_server_build_info{version="0.2.0"} 1
aero_storage_places_taken 3
aero_storage_places_limit 64
aero_storage_connections 12
http_requests_total{route="/v1/images/:image_id",method="GET",status="206"} 30
http_requests_total{route="unmatched",method="GET",status="404"} 2
http_requests_total{route="/metrics",method="GET",status="200"} 6
image_bytes_served_total{image_id="win98"} 5000
image_bytes_served_total{image_id="os2"} 7
http_request_duration_seconds_bucket{route="/v1/images/:image_id",method="GET",le="0.01"} 14
http_request_duration_seconds_bucket{route="/v1/images/:image_id",method="GET",le="0.1"} 30
http_request_duration_seconds_bucket{route="/v1/images/:image_id",method="GET",le="+Inf"} 30
http_request_duration_seconds_bucket{route="/metrics",method="GET",le="0.01"} 0
http_request_duration_seconds_bucket{route="/metrics",method="GET",le="0.1"} 0
http_request_duration_seconds_bucket{route="/metrics",method="GET",le="+Inf"} 6
process_cpu_seconds_total 4
"""
REMOTE = """
aero_storage_cache_requests_total{result="hit"} 90
aero_storage_cache_requests_total{result="miss"} 10
aero_storage_cache_bytes 512
aero_storage_cache_limit_bytes 1024
aero_storage_origin_up 0
aero_storage_origin_requests_total{operation="get",result="ok"} 8
aero_storage_origin_requests_total{operation="get",result="error"} 2
"""


def pages(before: str = BEFORE, now: str = NOW) -> tuple[Exposition, Exposition]:
    return parse_exposition(before), parse_exposition(now)


def test_gauges_are_as_they_are() -> None:
    """Gauges are those of the second look."""
    figures = figures_of(*pages(), 2.0)
    assert (figures.version, figures.places_taken, figures.places_limit) == ("0.2.0", 3, 64)
    assert figures.connections == 12


def test_counters_are_rates() -> None:
    """Counters are rates of the time between; those that did not rise are left out of lists."""
    figures = figures_of(*pages(), 2.0)
    assert figures.requests_per_second == {"206": 10, "404": 1}
    assert figures.all_requests_per_second == 11
    assert figures.bytes_per_second == 2000
    assert figures.images == {"win98": 2000}
    assert figures.cpu_ratio == 0.5


def test_looks_are_left_out() -> None:
    """Requests for metrics, which come of looking, are neither in the rates nor in the delays."""
    figures = figures_of(*pages(), 2.0)
    assert "200" not in figures.requests_per_second
    assert figures.delays.median == pytest.approx(0.01)
    assert figures.delays.p99 is not None
    assert 0.09 < figures.delays.p99 < 0.1


def test_restart_begins_at_zero() -> None:
    """Counters of a daemon that was started between two looks began at 0."""
    figures = figures_of(*pages(now=NOW.replace("start_time_seconds 1000", "start_time_seconds 2000")), 2.0)
    assert figures.requests_per_second == {"206": 15, "404": 1}
    assert figures.bytes_per_second == 5007 / 2


def test_no_rate_is_negative() -> None:
    """A counter that has fallen, against its nature, is no rate."""
    before, now = pages(NOW, BEFORE)
    figures = figures_of(before, now, 2.0)
    assert figures.bytes_per_second == 0
    assert figures.requests_per_second == {}


def test_one_look_has_no_rates() -> None:
    """One look alone tells no rates."""
    figures = figures_of(None, parse_exposition(NOW), 2.0)
    assert (figures.seconds, figures.bytes_per_second, figures.delays.median) == (0, 0, None)
    assert figures.places_taken == 3


def test_cache_and_origin() -> None:
    """Cache and object store have figures where the daemon has them."""
    local = figures_of(*pages(), 2.0)
    assert (local.cache, local.origin) == (None, None)
    figures = figures_of(*pages(now=NOW + REMOTE), 2.0)
    assert figures.cache is not None
    assert figures.origin is not None
    assert (figures.cache.hit_ratio, figures.cache.bytes) == (0.9, 512)
    assert (figures.origin.is_up, figures.origin.requests_per_second) == (False, 5)
    assert figures.origin.failures_per_second == 1


def test_ten_images_at_most() -> None:
    """The images that were read most are told, the busiest first, and no more than ten."""
    many = "".join(f'image_bytes_served_total{{image_id="i{number:02}"}} {number}\n' for number in range(1, 30))
    figures = figures_of(*pages("process_start_time_seconds 1\n", "process_start_time_seconds 1\n" + many), 1.0)
    assert list(figures.images) == [f"i{number:02}" for number in range(29, 19, -1)]


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({}, 0.5, None),
        ({"+Inf": 0}, 0.5, None),
        ({"1": 10, "+Inf": 10}, 0.5, 0.5),
        ({"1": 5, "2": 10, "+Inf": 10}, 0.5, 1),
        ({"1": 5, "2": 10, "+Inf": 10}, 0.75, 1.5),
        ({"1": 0, "2": 10, "+Inf": 10}, 0.5, 1.5),
        ({"1": 5, "+Inf": 10}, 0.99, 1),
        ({"x": 5, "1": 10, "+Inf": 10}, 0.5, 0.5),
    ],
)
def test_quantile(buckets: dict[str, float], share: float, expected: float | None) -> None:
    """A quantile lies within its bucket; above the highest limit it is that limit."""
    assert quantile(buckets, share) == expected
