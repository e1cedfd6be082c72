"""Markdown tables and the numbers in them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

NOTHING = "–"
MIB = 1 << 20


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right. Empty without rows."""
    lines = [_row(row) for row in rows]
    rule = _row(["---", *["---:"] * (len(header) - 1)])
    return "\n".join([_row(header), rule, *lines]) if lines else ""


def listing(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of texts."""
    lines = [_row(row) for row in rows]
    return "\n".join([_row(header), _row(["---"] * len(header)), *lines]) if lines else ""


def shown(value: float | None, write: Callable[[float], str]) -> str:
    """A figure, or a dash where there is none."""
    return NOTHING if value is None else write(value)


def load_title(load: str) -> str:
    """A load as people call it."""
    return {"chunks": "4 MiB chunks", "download": "full download"}.get(load, f"{load} ranges")


def rate(value: float) -> str:
    """Bodies a second, to three digits at least."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float) -> str:
    """A ratio, to two digits at least."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def spread(values: Sequence[float]) -> str:
    """The smallest and the largest."""
    return f"{ratio(min(values))} – {ratio(max(values))}" if values else NOTHING


def mib(value: float) -> str:
    """Bytes as MiB."""
    return f"{value / MIB:,.1f}"


def kib(value: float) -> str:
    """Bytes as KiB."""
    return f"{value / 1024:,.1f}"


def micro(value: float) -> str:
    """Microseconds."""
    return f"{value:,.0f}"


def percent(value: float) -> str:
    """A share."""
    return f"{100 * value:.0f} %"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
