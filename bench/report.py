"""docs/measurements/benchmarks.md from the results. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from bench import tables, texts
from bench.latency import ALONE
from bench.results import (
    BOTH_CORES,
    ONE_CORE,
    WHOLE_IMAGE,
    Latency,
    Results,
    Sample,
    middle,
    nearest_rank,
    unique,
)
from bench.servers import AERO, KINDS, NGINX
from bench.streams import COLD, PACED, WARM
from bench.targets import TARGETS, growths

TITLES = {kind.name: kind.title for kind in KINDS}
_GIB = 1 << 30
_MARK = " †"


def report(results: Results) -> str:
    """The whole page."""
    sections = [
        texts.HEAD,
        _section("Targets", "", targets(results)),
        *_throughput(results),
        _section("CPU seconds of the server for a GB (10⁹ bytes) served", "", cpu(results)),
        _section("Two workers", texts.TWO_WORKERS, workers(results)),
        _section("Memory", texts.MEMORY, memory(results)),
        _section("Memory of one of 1,000 streams, by range size", texts.STREAMS, per_stream(results)),
        _section("A hot 4 KiB request beside cold streams", texts.LATENCY, latency(results)),
        _section("An image that is changed while it is read", texts.CHANGES, changes(results)),
        _section("Over a bucket", texts.BUCKET, over_a_bucket(results)),
        texts.MEANING,
        _section("Machine, versions, flags", "", tables.listing(["What", "Here"], results.facts.items())),
        _section("Notes", "", "\n".join(f"- {note}" for note in notes(results))),
        texts.REPEAT,
    ]
    return "\n".join(section for section in sections if section)


def targets(results: Results) -> str:
    """Each figure to reach, what was reached, and the word for it."""
    rows = [[target.work, target.wanted, *target.verdict(results)] for target in TARGETS]
    return tables.listing(["Work", "At least", "Here", ""], rows)


def over_a_bucket(results: Results) -> str:
    """Each figure of the daemon over a bucket; empty if none was measured."""
    rows = [[row.work, row.wanted, row.shown, row.verdict] for row in results.bucket]
    return tables.listing(["Work", "Wanted", "Here", ""], rows) if rows else ""


def changes(results: Results) -> str:
    """What each server's client got; empty if nothing was changed."""
    servers = unique(one.server for one in results.changes)
    found = {(one.server, one.change): one.outcome for one in results.changes}
    rows = [
        [change, *(found.get((server, change), tables.NOTHING) for server in servers)]
        for change in unique(one.change for one in results.changes)
    ]
    return tables.listing(["", *(TITLES[server] for server in servers)], rows) if rows else ""


def throughput(results: Results, cell: Callable[[str, str], str]) -> str:
    """A table of servers and loads."""
    one_core = [one for one in results.samples if one.suite == ONE_CORE]
    loads = unique(one.load for one in one_core)
    rows = [[TITLES[server], *(cell(server, load) for load in loads)] for server in _servers(one_core)]
    return tables.table(["", *map(tables.load_title, loads)], rows)


def rates(results: Results) -> str:
    """Bodies a second."""

    def cell(server: str, load: str) -> str:
        mark = _MARK if results.load_is_limit(server, load) else ""
        return tables.shown(_median(results, server, load, lambda one: one.rate), tables.rate) + mark

    return throughput(results, cell)


def ratios(results: Results) -> str:
    """Ratios to nginx."""
    return throughput(results, lambda server, load: tables.shown(results.ratio(server, NGINX, load), tables.ratio))


def spreads(results: Results) -> str:
    """The ratios of single rounds to nginx; empty of a single round."""
    if len({one.round for one in results.samples}) < 2:
        return ""
    return throughput(results, lambda server, load: tables.spread(results.ratios(server, NGINX, load)))


def cpu(results: Results) -> str:
    """CPU seconds per GB."""
    return throughput(
        results,
        lambda server, load: tables.shown(
            _median(results, server, load, lambda one: one.cpu_per_gb), lambda value: f"{value:.3g}"
        ),
    )


def workers(results: Results) -> str:
    """One and two workers, with their ceiling."""
    both = [one for one in results.samples if one.suite == BOTH_CORES]
    rows = [
        [
            f"{TITLES[server]}, {tables.load_title(load)}",
            *(_rate(results, server, load, count) for count in (1, 2)),
            tables.shown(results.speedup(server, load), tables.ratio),
            tables.shown(results.ceiling(server, load), tables.ratio),
        ]
        for load in unique(one.load for one in both)
        for server in _servers(both)
    ]
    return tables.table(["", "1 worker", "2 workers", "speed-up", "ceiling"], rows)


def memory(results: Results) -> str:
    """RSS, PSS and what 1,000 clients add."""
    rows = []
    for server in unique(one.server for one in results.memory):
        points = [one for one in results.memory if (one.server, one.range_size) == (server, WHOLE_IMAGE)]
        for point in points:
            more = point.rss - points[0].rss
            rows.append(
                [f"{TITLES[server]}, {point.clients:,}", *map(tables.mib, (point.rss, more, point.pss, point.kernel))]
            )
    return tables.table(["Server, clients", "RSS", "more than idle", "PSS", "kernel"], rows)


def per_stream(results: Results) -> str:
    """Growth by range size."""
    found = {server: growths(results, server) for server in unique(one.server for one in results.memory)}
    several = {server: by_size for server, by_size in found.items() if len(by_size) > 1}
    sizes = sorted({size for by_size in several.values() for size in by_size}, key=lambda size: size or _GIB)
    rows = [
        [TITLES[server], *(tables.shown(by_size.get(size), tables.kib) for size in sizes)]
        for server, by_size in several.items()
    ]
    return tables.table(["", *(f"{size >> 20} MiB" if size else "30 GiB" for size in sizes)], rows)


def latency(results: Results) -> str:
    """Percentiles by state."""
    rows = [
        [f"{TITLES[server]}, {state}", *_latency_cells(results, found)]
        for server in unique(one.server for one in results.latency)
        for state in (ALONE, WARM, COLD, PACED)
        if (found := [one for one in results.latency if (one.server, one.state) == (server, state)])
    ]
    return tables.table(["", "p50", "p99", "p99 to alone", "worst", "streams MiB/s", "cold", "disk MiB/s"], rows)


def notes(results: Results) -> list[str]:
    """What the run noted, and what the figures tell of it."""
    return [*results.notes, *log_notes(results), *noise_notes(results)]


def log_notes(results: Results) -> Iterator[str]:
    """What is missing in request logs: a server that drops lines has less to do."""
    for server in _servers(results.samples):
        runs = [one for one in results.samples if one.server == server and one.logged is not None]
        worst = min(runs, key=lambda one: one.logged or 0.0, default=None)
        if worst and worst.logged is not None and worst.logged < 1:
            share = f"{100 * worst.logged:.1f} % of the requests in the worst run ({worst.load})"
            yield f"The request log of {TITLES[server]} held {share}."


def noise_notes(results: Results) -> Iterator[str]:
    """How much the two cores did besides."""
    shares = [one.disturbance for one in results.samples]
    if shares:
        usual, most = tables.percent(nearest_rank(shares, 50)), tables.percent(max(shares))
        yield f"Other programs took {usual} of the two cores' time in the middle run, {most} at the most."


def _throughput(results: Results) -> list[str]:
    return [
        _section("Throughput: bodies per second, median", "", rates(results)),
        _section("Ratios to nginx", "![Ratios to nginx](benchmarks.png)", ratios(results)),
        _section("Ratios to nginx, smallest and largest of the rounds", "", spreads(results)),
    ]


def _latency_cells(results: Results, found: list[Latency]) -> list[str]:
    server, state = found[0].server, found[0].state
    alone = results.percentile(server, ALONE, "p99")
    middles = [middle(values) for values in ([one.p50 for one in found], [one.p99 for one in found])]
    busy = [one for one in found if one.streamed]
    ratio = middles[1] / alone if state != ALONE and middles[1] and alone else None
    return [
        *(tables.shown(value, tables.micro) for value in middles),
        tables.shown(ratio, tables.ratio),
        tables.micro(max(one.worst for one in found)),
        tables.shown(middle(one.streamed / one.seconds for one in busy), tables.mib),
        tables.shown(middle(one.cold_share or 0.0 for one in busy), tables.percent),
        tables.shown(middle(one.disk_read / one.seconds for one in busy), tables.mib),
    ]


def _servers(samples: Iterable[Sample]) -> list[str]:
    """Servers that were measured, ours first."""
    present = {one.server for one in samples}
    return [name for name in unique([AERO, *TITLES]) if name in present]


def _median(results: Results, server: str, load: str, of: Callable[[Sample], float]) -> float | None:
    return middle(of(one) for one in results.runs(server, load).values())


def _rate(results: Results, server: str, load: str, count: int) -> str:
    runs = results.runs(server, load, BOTH_CORES, count)
    return tables.shown(middle(one.rate for one in runs.values()), tables.rate)


def _section(title: str, text: str, body: str) -> str:
    """A section; empty where nothing was measured."""
    parts = [f"## {title}\n", *([f"{text.strip()}\n"] if text else []), f"{body}\n"]
    return "\n".join(parts) if body else ""
