"""docs/measurements/reliability.md, from outcomes. Pure but for what it asks the machine."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterator, Sequence

from torture.outcome import MIB, Footprint, LiveResult, Outcome

_INTRO = """# Reliability

What the daemon does under faults and hostile input. Written by `make torture`; each fault had daemons of its own,
and beside it live clients that asked for random ranges and compared every byte. A fault has failed if a live client
was not served, a byte was wrong, the daemon ended, logged a traceback, or kept descriptors, places or memory.
Hostile requests keep all cores of a small machine busy: beside them the times of live clients are those of a loaded
machine. No two faults were tried at the same time.
"""


def report(outcomes: Sequence[Outcome], seconds: float, arguments: Sequence[str]) -> str:
    """The whole text."""
    return "\n".join(_lines(outcomes, seconds, arguments)) + "\n"


def _lines(outcomes: Sequence[Outcome], seconds: float, arguments: Sequence[str]) -> Iterator[str]:
    tried = [outcome for outcome in outcomes if not outcome.skipped]
    failed = sum(outcome.failed for outcome in tried)
    yield _INTRO
    yield f"`{shlex.join(('python', '-m', 'torture', *arguments))}`, {seconds:.0f} s, {machine()}:"
    yield f"{len(tried)} faults tried, {failed} failed, {len(outcomes) - len(tried)} skipped.\n"
    yield "| Fault | How many | What was tried | What came of it | |"
    yield "| --- | ---: | --- | --- | --- |"
    for one in outcomes:
        yield f"| {one.fault} | {one.count:,} | {one.tried} | {one.skipped or one.saw} | {_word(one)} |"
    yield "\nLive clients meanwhile, and what the daemon held (all its processes) before and after:\n"
    yield "| Fault | Live requests | Wrong bytes | p99, slowest (ms) | Descriptors | Free places | Memory (MiB) |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for one in tried:
        yield f"| {one.fault} | {_live(one.live)} | {_held(one.before, one.after)} |"
    for one in outcomes:
        if one.failed:
            yield f"\n## What is wrong: {one.fault}\n"
            yield from (f"- `{complaint[:500]}`" for complaint in one.complaints)


def machine() -> str:
    """What this runs on, in short."""
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def _word(outcome: Outcome) -> str:
    if outcome.skipped:
        return "skipped"
    return "**failed**" if outcome.failed else "passed"


def _live(live: LiveResult | None) -> str:
    if live is None:
        return "– | – | –"
    return f"{live.requests:,} | {live.wrong_bytes} | {live.p99 * 1000:.1f}, {live.slowest * 1000:.1f}"


def _held(before: Footprint | None, after: Footprint | None) -> str:
    if before is None or after is None:
        return "– | – | –"
    places = "–" if before.places is None else f"{before.places} → {after.places}"
    memory = f"{before.resident / MIB:.0f} → {after.resident / MIB:.0f}"
    return f"{before.descriptors} → {after.descriptors} | {places} | {memory}"
