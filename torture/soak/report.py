"""docs/measurements/soak.md, from a record. Pure but for what it asks the machine."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from torture.outcome import MIB, Footprint
from torture.report import machine
from torture.soak.record import Record

_INTRO = """# An hour with all kinds of clients

Written by `make soak`; `python -m torture.soak --help` says what its clients do. Memory is
what is resident of all processes of the daemon, under load the median of {window:.0f} seconds.
"""
_EVERY = 300.0


def report(record: Record, complaints: Sequence[str], arguments: Sequence[str]) -> str:
    """The whole text."""
    return "\n".join(_lines(record, complaints, arguments)) + "\n"


def _lines(record: Record, complaints: Sequence[str], arguments: Sequence[str]) -> Iterator[str]:
    yield _INTRO.format(window=record.window)
    cpu = sum(sample.cpu for sample in record.samples) / max(len(record.samples), 1)
    yield f"`{shlex.join(('python', '-m', 'torture.soak', *arguments))}`, {machine()}:"
    yield f"{record.requests:,} responses, {record.compared / MIB:,.0f} MiB compared, {record.wrong} bytes wrong,"
    yield f"{len(record.faults)} faults, {record.resets:,} responses broken off by mixed clients;"
    yield f"daemon and clients together used {cpu:.0%} of a core.\n"
    yield "| When | Memory (MiB) | Descriptors |"
    yield "| --- | ---: | ---: |"
    yield _row("before any client", record.start)
    for second in _moments(record):
        yield _row(f"{second:,.0f} s of load", record.under_load(second))
    yield _row(f"all clients gone after {record.first:,.0f} s", record.rests[0])
    yield _row(f"all clients gone after {record.seconds:,.0f} s", record.rests[1])
    yield "\n| What clients did | Times |"
    yield "| --- | ---: |"
    for act, count in record.acts.items():
        yield f"| {act.replace('_', ' ')} | {count:,} |"
    if complaints:
        yield "\n## What is wrong\n"
        yield from (f"- `{complaint[:500]}`" for complaint in complaints)


def _moments(record: Record) -> list[float]:
    between = [_EVERY * number for number in range(1, int(record.seconds / _EVERY) + 1)]
    return sorted({record.first, *between, record.seconds})


def _row(when: str, held: Footprint) -> str:
    return f"| {when} | {held.resident / MIB:.1f} | {held.descriptors} |"
