"""Warnings about images and files, one line for each text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

_MOST_NAMES = 5
"""Names in one line."""


def warning_lines(warnings: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield one line for each warning, however many images it is about."""
    names: dict[str, list[str]] = {}
    for name, texts in warnings.items():
        for text in texts:
            names.setdefault(text, []).append(name)
    for text, about in names.items():
        more = f" and {len(about) - _MOST_NAMES} more" if len(about) > _MOST_NAMES else ""
        yield f"warning: {', '.join(about[:_MOST_NAMES])}{more}: {text}"
