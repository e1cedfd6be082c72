"""docs/measurements/benchmarks.png: the ratios to nginx on a log scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import TITLES
from bench.results import ONE_CORE, Results, unique
from bench.servers import COLOURS, NGINX
from bench.tables import load_title

_GAP = 1.2  # between loads, in bars
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


def draw(results: Results, path: Path) -> None:
    """Write a PNG: for each load a bar for each server, from nginx's 1 to its ratio."""
    samples = [one for one in results.samples if one.suite == ONE_CORE]
    loads = unique(one.load for one in samples)
    servers = [name for name in TITLES if name != NGINX and any(one.server == name for one in samples)]
    step = len(servers) + _GAP
    figure = Figure(figsize=(9, 1.5 + 0.2 * step * len(loads)), dpi=150, layout="constrained")
    axes = figure.subplots()
    drawn: list[float] = []
    for place, server in enumerate(servers):
        ratios = [results.ratio(server, NGINX, load) for load in loads]
        points = [(group * step + place, value) for group, value in enumerate(ratios) if value]
        drawn += [value for _, value in points]
        heights, lengths = [at for at, _ in points], [value - 1 for _, value in points]
        axes.barh(heights, lengths, left=1, height=0.8, color=COLOURS[server], label=TITLES[server])
        for at, value in points:
            _label(axes, value, at)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(min([0.1, *drawn]) / 1.6, max([1.5, *drawn]) * 1.6)
    axes.set_xticks(ticks := _within(axes.get_xlim()), [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks([group * step + (len(servers) - 1) / 2 for group in range(len(loads))], map(load_title, loads))
    axes.invert_yaxis()
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.set_xlabel("bodies per second, nginx with sendfile = 1 (log scale)")
    axes.set_title("One process on one core, median ratio to nginx in the same round")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path)


def _label(axes: Axes, value: float, at: float) -> None:
    """Write a ratio beyond the end of its bar."""
    shift, side = (3, "left") if value >= 1 else (-3, "right")
    axes.annotate(
        f"{value:.2f}", (value, at), (shift, 0), textcoords="offset points", ha=side, va="center", fontsize=7
    )


def _within(limits: Sequence[float]) -> list[float]:
    return [tick for tick in _TICKS if limits[0] <= tick <= limits[1]]
