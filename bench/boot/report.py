"""docs/measurements/boot.md from the results. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.boot.loaders import LOADERS, OPFS, PROFILE, V86, V86_HTTP2, V86_NGINX
from bench.boot.reads import AT_RANDOM, CLIENT, CURL, IN_A_ROW, XHR
from bench.boot.results import Results
from bench.tables import listing

HEAD = """# From power-on to the prompt

A Linux (Debian's kernel for i386, BusyBox, ext4 read from the disk) boots in v86 in headless Chromium. Its disk is on
another origin, behind a proxy of TCP that delays (`bench/boot/link.py`): a round trip to open a connection and one for
each request, and one rate for all connections to the client. The proxy has no losses and no slow start; below stands
what `curl` reaches through it in the same run.

`make bench-boot` writes this page: each figure is the median of runs that take turns with all others, each in a
browser with an empty profile ("from OPFS": after one boot).
"""
NOTHING = "–"


def report(results: Results) -> str:
    """The whole page."""
    parts = [
        HEAD,
        "![Seconds to the prompt by round trip](boot.png)\n",
        f"## Seconds to the prompt\n\n{seconds(results)}\n",
        f"## Requests and bytes\n\n{traffic(results)}\n",
        f"## Goals\n\n{listing(['What', 'Goal', 'Here', ''], list(goals(results)))}\n",
        f"## Reads in the browser\n\n{readings(results)}\n",
        f"## The link, as curl sees it\n\n{reach(results)}\n",
        f"## Machine and versions\n\n{listing(['What', 'Here'], [list(row) for row in results.facts.items()])}\n",
    ]
    return "\n".join(parts)


def seconds(results: Results) -> str:
    """A row for each loader, a column for each round trip."""
    rows = [
        [loader.title, *(_figure(results.seconds(loader.name, rtt)) for rtt in results.rtts())]
        for loader in LOADERS
        if results.of(loader.name, 0)
    ]
    return listing(["Loader", *(f"{rtt} ms" for rtt in results.rtts())], rows)


def traffic(results: Results) -> str:
    """What one boot asks for and gets."""
    rows = []
    for loader in LOADERS:
        if boots := results.of(loader.name, 0):
            requests = statistics.median(boot.requests for boot in boots)
            sent = statistics.median(boot.bytes for boot in boots)
            rows.append([loader.title, f"{requests:.0f}", f"{sent / 1e6:.1f}"])
    touched = f"The guest reads {results.distinct_bytes / 1e6:.1f} MB in blocks of 4 KiB."
    return f"{listing(['Loader', 'Requests', 'MB'], rows)}\n\n{touched}"


def goals(results: Results) -> Iterator[list[str]]:
    """Each goal, what was reached, and the word for it."""
    for rtt, most in ((50, 1.1), (100, 1.15)):
        yield _at_most(f"aero-disk with the boot profile, {rtt} ms, of its time at 0 ms", most, _ratio(results, rtt))
        yield _at_most(f"what {rtt} ms add to it, of what they add to v86's own loader", 0.15, _added(results, rtt))
    fetched = [boot.bytes for boot in results.of(PROFILE, 0)]
    share = statistics.median(fetched) / results.distinct_bytes if fetched and results.distinct_bytes else None
    yield _at_most("bytes fetched, of the 4 KiB blocks that the guest read", 1.3, share)
    kept, plain = results.seconds(OPFS, 50), results.seconds(OPFS, 0)
    yield _at_most("from OPFS, 50 ms, of its time at 0 ms", 1.15, kept / plain if kept and plain else None)
    asked = [boot.requests for boot in results.of(OPFS, 0)]
    yield _at_most("from OPFS, requests", 2, statistics.median(asked) if asked else None)
    ours, theirs = results.seconds(V86, 50), results.seconds(V86_NGINX, 50)
    share = ours / theirs if ours and theirs else None
    yield _at_most("v86's own loader, 50 ms, of its time over nginx", 1.03, share)
    ours = results.seconds(V86_HTTP2, 50)
    share = ours / theirs if ours and theirs else None
    yield _at_most("v86's own loader over HTTP/2, 50 ms, of its time over nginx", 1.03, share)
    for room in results.classrooms:
        what = f"a classroom of {room.seats}, {room.loader}: the slowest, of one alone"
        yield _at_most(what, 1.2, room.slowest / room.alone)
        yield _at_most(f"a classroom of {room.seats}, {room.loader}: requests refused", 0, room.refused)
    yield _at_least(f"{AT_RANDOM}, 50 ms, of v86's XHRs", 5, _share(results, AT_RANDOM, XHR))
    yield _at_least(f"{IN_A_ROW}, 50 ms, of curl and the whole image", 0.8, _share(results, IN_A_ROW, CURL))


def _share(results: Results, work: str, whose: str) -> float | None:
    ours, theirs = results.reading(work, CLIENT), results.reading(work, whose)
    return ours / theirs if ours and theirs else None


def _ratio(results: Results, rtt: int) -> float | None:
    slow, fast = results.seconds(PROFILE, rtt), results.seconds(PROFILE, 0)
    return slow / fast if slow and fast else None


def _added(results: Results, rtt: int) -> float | None:
    ours, theirs = results.added(PROFILE, rtt), results.added(V86, rtt)
    return ours / theirs if ours is not None and theirs else None


def _at_most(what: str, most: float, here: float | None) -> list[str]:
    if here is None:
        return [what, f"≤ {most:g}", NOTHING, "not measured"]
    return [what, f"≤ {most:g}", f"{here:.2f}", "reached" if here <= most else "**missed**"]


def _at_least(what: str, least: float, here: float | None) -> list[str]:
    if here is None:
        return [what, f"≥ {least:g}", NOTHING, "not measured"]
    return [what, f"≥ {least:g}", f"{here:.2f}", "reached" if here >= least else "**missed**"]


def readings(results: Results) -> str:
    """MiB/s by work and reader."""
    kinds = dict.fromkeys((one.work, one.who) for one in results.readings)
    rows = [[work, who, f"{results.reading(work, who):.1f}"] for work, who in kinds]
    return listing(["Reads, 50 ms, no limit on the rate", "By", "MiB/s"], rows)


def reach(results: Results) -> str:
    """What the link carries."""
    rate = f"{results.mbit:g} Mbit/s" if results.mbit else "no limit"
    rows = [
        [f"{one.rtt_ms} ms, {rate}", f"{one.mib_per_second:.1f}", f"{one.small_ms:.0f}"] for one in results.reaches
    ]
    return listing(["Link", "The whole image, MiB/s", "512 bytes on a new connection, ms"], rows)


def _figure(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"
