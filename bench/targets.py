"""The speed to reach, from the table of the issue, and whether it was. Pure."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from bench.latency import ALONE
from bench.memory import IDLE_CLIENTS
from bench.results import IDLE, ONE_CORE, SECURE, WHOLE_IMAGE, Results
from bench.servers import AERO, AIOHTTP, BEHIND, NGINX, NO_EXPRESS, SECURE_AERO, SECURE_NGINX, STATIC
from bench.streams import COLD, PACED, WARM
from bench.tables import load_title

MIB = 1 << 20
SLOW_CLIENTS = 1000
REACHED, MISSED, UNKNOWN = "reached", "**missed**", "not measured"
LOAD_IS_LIMIT = "the load generator is the limit"
_TITLES = {NGINX: "nginx", AIOHTTP: "aiohttp", STATIC: "twisted.web.static", SECURE_NGINX: "nginx"}
_SUFFIXES = {NO_EXPRESS: ", nothing remembered", BEHIND: " at a UNIX socket, through nginx", SECURE_AERO: ", TLS"}
_ALIKE = 1.25  # largest over smallest, of figures that should not depend on the range size


@attrs.frozen
class Target:
    """A figure to reach: `limit` at the least, or at the `most`."""

    work: str
    wanted: str
    limit: float
    measure: Callable[[Results], float | None]
    shown: Callable[[float], str]
    most: bool = False
    excuse: Callable[[Results], str] = lambda _: ""

    def verdict(self, results: Results) -> tuple[str, str]:
        """The figure as text, and whether it is reached."""
        value = self.measure(results)
        if value is None:
            return "–", UNKNOWN
        if value <= self.limit if self.most else value >= self.limit:
            return self.shown(value), REACHED
        return self.shown(value), self.excuse(results) or MISSED


def _times(value: float) -> str:
    return f"{value:.2f} ×"


def _mib(value: float) -> str:
    return f"{value / MIB:.1f} MiB"


def _speed(load: str, least: float, other: str, server: str = AERO) -> Target:
    suffix = _SUFFIXES.get(server, "")
    suite = SECURE if server == SECURE_AERO else ONE_CORE
    return Target(
        f"{load_title(load)}{suffix}",
        f"≥ {least:g} × {_TITLES[other]}",
        least,
        lambda results: results.ratio(server, other, load, suite),
        _times,
        excuse=lambda results: LOAD_IS_LIMIT if results.load_is_limit(server, load, suite) else "",
    )


def _speed_up(load: str) -> Target:
    """How much of what the load generator leaves room for two workers reach, which share both cores with it."""

    def measure(results: Results) -> float | None:
        speedup, ceiling = results.speedup(AERO, load), results.ceiling(AERO, load)
        return None if speedup is None or ceiling is None else speedup / ceiling

    title = f"{load_title(load)}, 2 workers on 2 cores"
    return Target(title, "≥ 0.95 of the ceiling that the load leaves", 0.95, measure, "{:.2f}".format)


def _growth(results: Results) -> float | None:
    """Resident bytes that 1,000 slow readers of the whole image add."""
    idle, busy = results.rss(AERO, 0), results.rss(AERO, SLOW_CLIENTS)
    return None if idle is None or busy is None else busy - idle


def _idle_growth(results: Results) -> float | None:
    """Resident bytes that idle connections add."""
    none, all_of_them = (results.rss(AERO, clients, IDLE) for clients in (0, IDLE_CLIENTS))
    return None if none is None or all_of_them is None else all_of_them - none


def growths(results: Results, server: str) -> dict[int, float]:
    """Resident bytes for one of 1,000 streams, by range size."""
    sizes = sorted({one.range_size for one in results.memory if one.server == server} - {IDLE})
    pairs = {size: (results.rss(server, 0, size), results.rss(server, SLOW_CLIENTS, size)) for size in sizes}
    return {
        size: (busy - idle) / SLOW_CLIENTS
        for size, (idle, busy) in pairs.items()
        if idle is not None and busy is not None
    }


def _range_dependence(results: Results) -> float | None:
    found = growths(results, AERO)
    if len(found) < 2 or WHOLE_IMAGE not in found:
        return None
    # Below a KiB a stream the differences are those of the allocator.
    return max(found.values()) / max(min(found.values()), 1024)


def _slowdown(state: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        alone, beside = (results.percentile(AERO, one, "p99") for one in (ALONE, state))
        return None if alone is None or beside is None else beside / alone

    return measure


TARGETS = (
    _speed("8 MiB", 1.1, NGINX),
    _speed("chunks", 1.0, NGINX),
    _speed("download", 1.0, NGINX),
    _speed("1 MiB", 1.4, NGINX),
    _speed("1 MiB", 3.0, AIOHTTP),
    _speed("64 KiB", 0.6, NGINX),
    _speed("64 KiB", 4.0, AIOHTTP),
    _speed("4 KiB", 0.45, NGINX),
    _speed("4 KiB", 5.0, AIOHTTP),
    _speed("4 KiB", 2.0, STATIC, NO_EXPRESS),
    _speed("1 MiB", 2.0, AIOHTTP, NO_EXPRESS),
    _speed("8 MiB", 0.9, NGINX, NO_EXPRESS),
    _speed("64 KiB", 0.4, SECURE_NGINX, SECURE_AERO),
    _speed("1 MiB", 0.7, SECURE_NGINX, SECURE_AERO),
    _speed("8 MiB", 0.7, SECURE_NGINX, SECURE_AERO),
    _speed("8 MiB", 0.8, NGINX, BEHIND),
    _speed_up("4 KiB"),
    _speed_up("64 KiB"),
    _speed_up("1 MiB"),
    Target("1,000 slow clients of a 30 GiB image", "≤ 64 MiB more than idle", 64 * MIB, _growth, _mib, most=True),
    Target(f"{IDLE_CLIENTS:,} idle connections", "≤ 40 MiB more than none", 40 * MIB, _idle_growth, _mib, most=True),
    Target(
        "memory of a stream: ranges of 1 MiB, 8 MiB and all",
        f"largest ≤ {_ALIKE} × smallest",
        _ALIKE,
        _range_dependence,
        _times,
        most=True,
    ),
    *(
        Target(
            f"hot p99 while 16 {pace}",
            "≤ 3 × the p99 alone",
            3.0,
            _slowdown(state),
            _times,
            most=True,
        )
        for state, pace in (
            (WARM, "warm streams run as fast as they can"),
            (COLD, "cold streams run as fast as they can"),
            (PACED, "cold streams run at 8 MiB/s each"),
        )
    ),
)
