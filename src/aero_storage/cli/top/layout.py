"""Figures as lines of text, for a screen of any width or for a log. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aero_storage.cli.top.figures import Cache, Delays, Figures, Origin
from aero_storage.sizes import format_size

_LABEL = 13
_NARROW = 50
"""Columns of a terminal below which labels have a line to themselves."""

_BARS = "▁▂▃▄▅▆▇█"
_GAP = "   "


def screen(figures: Figures, heading: str, history: Sequence[float], width: int, height: int) -> list[str]:
    """Return the lines of a screen of `width` columns and `height` lines; `history` has bytes a second, up to now.

    Where there is no room for all lines, the last ones are left out, and so is the end of a name that is too long.
    """
    return [line[:width] for line in whole(figures, heading, history, width)[:height]]


def whole(figures: Figures, heading: str, history: Sequence[float], width: int) -> list[str]:
    """Return all lines, of `width` columns; a name that is longer is in a longer line, by itself."""
    lines = [*([heading] if len(heading) <= width else heading.split(_GAP)), ""]
    for label, parts in _rows(figures):
        lines += _wrapped(label, parts, width)
        if label == "bytes" and len(history) > 1:
            lines += _wrapped("", [sparkline(history, max(8, width - _LABEL - 1))], width)
    return lines


def _wrapped(label: str, parts: Sequence[str], width: int) -> Iterator[str]:
    """Yield a label and its parts, in as many lines of `width` columns as they take."""
    is_narrow = width < _NARROW
    indent = " " * (2 if is_narrow else _LABEL)
    line = label if is_narrow else f"{label:{_LABEL}}"
    if is_narrow:
        if label:
            yield label
        line = indent
    for part in parts:
        joined = f"{line}{_GAP}{part}" if line.strip() and line.rstrip() != label else f"{line}{part}"
        if len(joined) > width and line.strip() and line.rstrip() != label:
            yield line
            joined = indent + part
        line = joined
    yield line


def sparkline(values: Sequence[float], columns: int) -> str:
    """Return the last values as bars, the highest of them of full height."""
    shown = values[-columns:]
    most = max(shown, default=0.0)
    return "".join(_BARS[round(value / most * (len(_BARS) - 1)) if most else 0] for value in shown)


def _rows(figures: Figures) -> Iterator[tuple[str, list[str]]]:
    limit = f" of {figures.places_limit:.0f}" if figures.places_limit else ""
    yield (
        "places",
        [
            f"{figures.places_taken:.0f}{limit} taken",
            f"queue {figures.queue_length:.0f}",
            f"without place {figures.streams_without_place:.0f}",
        ],
    )
    yield "connections", [f"{figures.connections:.0f} open", f"{figures.requests_in_flight:.0f} requests in flight"]
    statuses = [f"{status} {_rate(rate)}" for status, rate in figures.requests_per_second.items()]
    yield "requests", [_rate(figures.all_requests_per_second), *statuses]
    yield "bytes", [f"{format_size(figures.bytes_per_second)}/s"]
    yield "latency", _delays(figures.delays)
    yield "queue wait", [*_delays(figures.queue_delays), f"429 {_rate(figures.rejections_per_second)}"]
    if figures.cache is not None:
        yield "cache", _cache(figures.cache)
    if figures.origin is not None:
        yield "origin", _origin(figures.origin)
    yield "trouble", _troubles(figures)
    process = [f"CPU {100 * figures.cpu_ratio:.0f} %", format_size(figures.memory_bytes)]
    reactor = f"reactor late {_milliseconds(figures.reactor_delays.p99)}"
    yield "process", [*process, f"{figures.open_files:.0f} files open", reactor]
    for number, (image, rate) in enumerate(figures.images.items()):
        yield "" if number else "images", [f"{format_size(rate)}/s", image]


def _cache(cache: Cache) -> list[str]:
    hits = "no request" if cache.hit_ratio is None else f"{100 * cache.hit_ratio:.1f} % hits"
    space = f"{format_size(cache.bytes)} of {format_size(cache.limit_bytes)}"
    return [hits, space, f"evicted {format_size(cache.evicted_bytes_per_second)}/s"]


def _origin(origin: Origin) -> list[str]:
    return [
        "up" if origin.is_up else "AWAY",
        _rate(origin.requests_per_second),
        f"{format_size(origin.bytes_per_second)}/s",
        *_delays(origin.delays),
        f"failed {_rate(origin.failures_per_second)}",
    ]


def _troubles(figures: Figures) -> list[str]:
    return [
        f"broken off {_rate(figures.broken_off_per_second)}",
        f"stalled {_rate(figures.stalled_per_second)}",
        f"store errors {_rate(figures.store_errors_per_second)}",
        f"log lines dropped {_rate(figures.log_lines_dropped_per_second)}",
    ]


def _delays(delays: Delays) -> list[str]:
    return [f"median {_milliseconds(delays.median)}", f"p99 {_milliseconds(delays.p99)}"]


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _rate(rate: float) -> str:
    return f"{rate:.1f}/s" if rate < 100 else f"{rate:.0f}/s"  # noqa: PLR2004 - three digits


def line(figures: Figures) -> str:
    """Return the most important figures as one line."""
    parts = [
        _rate(figures.all_requests_per_second).replace("/s", " requests/s"),
        f"{format_size(figures.bytes_per_second)}/s",
        f"places {figures.places_taken:.0f}/{figures.places_limit:.0f}",
        f"queue {figures.queue_length:.0f}",
        f"connections {figures.connections:.0f}",
        f"p99 {_milliseconds(figures.delays.p99)}",
        f"429 {_rate(figures.rejections_per_second)}",
        f"broken off {_rate(figures.broken_off_per_second)}",
    ]
    if figures.cache is not None and figures.cache.hit_ratio is not None:
        parts.append(f"hits {100 * figures.cache.hit_ratio:.1f} %")
    if figures.origin is not None and not figures.origin.is_up:
        parts.append("origin AWAY")
    return "  ".join(parts)
