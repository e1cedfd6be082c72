"""docs/measurements/boot.png: seconds to the prompt by round trip."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from bench.boot.loaders import LOADERS
from bench.boot.results import Results


def draw(results: Results, path: Path) -> None:
    """Write a PNG: a line for each loader, with every run as a dot."""
    figure = Figure(figsize=(9, 5), dpi=150, layout="constrained")
    axes = figure.subplots()
    for loader in LOADERS:
        points = [(rtt, value) for rtt in results.rtts() if (value := results.seconds(loader.name, rtt)) is not None]
        if not points:
            continue
        (line,) = axes.plot(*zip(*points, strict=True), marker="o", label=loader.title.replace("`", ""))
        runs = [(boot.rtt_ms, boot.seconds) for boot in results.boots if boot.loader == loader.name]
        axes.scatter([rtt for rtt, _ in runs], [value for _, value in runs], s=8, alpha=0.5, color=line.get_color())
    axes.set_xticks(results.rtts())
    axes.set_ylim(bottom=0)
    axes.set_xlabel("round trip, ms")
    axes.set_ylabel("seconds from power-on to the prompt")
    axes.grid(color="#dddddd")
    axes.legend(frameon=False)
    figure.savefig(path)
