"""Write what is generated: `reference_pages.py [PROJECT]`, into `docs/reference`, `share` and `browser`.

`settings.md` comes from the table of settings, `metrics.md` from the metrics themselves, `cli.md` from the operator's
command; manual pages and completions of shells come from the same tables, the version of the npm package from
`pyproject.toml`. The environment that runs this has aero-storage installed.
"""

from __future__ import annotations

import inspect
import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aero_storage.cli.main import command
from aero_storage.cli.shell.bash import bash_completion
from aero_storage.cli.shell.command_tree import command_tree
from aero_storage.cli.shell.fish import fish_completion
from aero_storage.cli.shell.manual import manual_of_commands, manual_of_settings
from aero_storage.cli.shell.zsh import zsh_completion
from aero_storage.metrics import Gauge, Metrics, Registry
from aero_storage.service.origin_counts import OriginCounts
from aero_storage.settings import markdown_table
from aero_storage.settings.original_variables import BUILD_VARIABLES, ORIGINAL_VARIABLES
from aero_storage.storage.objects.block_cache.counts import CacheCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from aero_storage.cli.shell.command_tree import Command

PROJECT = Path(__file__).parents[1]

NOTE = "<!-- Written by `make docs`; do not edit. -->\n\n"
_PROCESS = "process_"
_NAMED_IN_TEXT = frozenset({"route", "method", "status", "image_id", "version"})
"""Labels whose values depend on what is asked for: http.md §9 tells them."""

_SETTINGS = """\
# Settings

A flag wins over its variable, the variable over the key in the file, the key over the default. The file is TOML,
named by `--config FILE` or `AERO_STORAGE_CONFIG`; [`etc/aero-storage.toml`](../../etc/aero-storage.toml) has every
key, commented out with its default. Lists take a repeated flag, commas, or an array in the file. Relative paths start
at the working directory. [HTTP interface §10](http.md#10-configuration) has the rules in full,
[Tuning](../how-to/tuning.md) says which settings to think about.

```text
twistd --nodaemon aero-storage [options]
```

"""
_SETTINGS_END = """

Three flags are no settings: `--check-config` prints every setting with its value and where it came from, then ends;
`--help` explains them all; `--version` prints the version.

## Variables of the original server

These are taken too, below ours and above the file: the first that is set, with one warning in the log that names
ours.

| Ours | The original's, in order |
| --- | --- |
"""

_METRICS = """\
# Metrics

`/metrics` shows these in the Prometheus text format 0.0.4. Counters and histograms with fixed labels exist from the
start with 0; those of `aero_storage_origin_…` only over an object store, those of `aero_storage_cache_…` only with
`--cache-dir`, those of `aero_storage_lease_…` only with `--lease-keys-file`. With several workers every worker shows
the sum of all; of ratios, and of what all have in common, the highest.
[HTTP interface §9](http.md#9-metrics) has the rules for label values,
[Metrics and alerts](../how-to/metrics-and-alerts.md) says what to watch.

| Metric | Type | Labels | Meaning |
| --- | --- | --- | --- |
"""
_METRICS_END = "| `process_…` | | | Processor time, memory, file descriptors and start time, as of every process. |\n"

_CLI = """\
# Commands

Two commands are installed. `twistd aero-storage` is the daemon; its flags are the [settings](settings.md).
`aero-storage` is for the operator. It works beside a running daemon, which sees each change whole, within a second,
or not at all. An interrupted command leaves the images as they were; the next one cleans up.

The exit status is 0, 1 for a failure (also a finding of `verify`, `catalog check`, `lease check` or `doctor`), 2 for
a wrong command line, 128 + n after signal n. Ctrl-C is the way to end `serve`, `top`, and `demo` once it serves, so
the status is 0 then; SIGTERM and SIGHUP end `serve` and such a `demo` with 0, too, as they end the daemon, and `top`
with 143 and 129. With `--json` a command prints one JSON document on standard output.

| Command | What it does |
| --- | --- |
"""


def settings_page() -> str:
    """Return the page of all settings."""
    return _SETTINGS + markdown_table() + _SETTINGS_END + "".join(_original_rows())


def _original_rows() -> Iterator[str]:
    for ours, names in ORIGINAL_VARIABLES.items():
        note = " (for `/version`)" if ours in BUILD_VARIABLES else ""
        yield f"| `{ours}`{note} | {', '.join(f'`{name}`' for name in names)} |\n"


def metrics_page() -> str:
    """Return the page of all metrics, by name; those of every process in one row."""
    families = sorted(_families(), key=lambda family: family.name)
    ours = [family for family in families if not family.name.startswith(_PROCESS)]
    return _METRICS + "".join(map(_metric_row, ours)) + _METRICS_END


def _families() -> Iterable[Metric]:
    """Return every family, once something has happened that gives it all its labels."""
    registry = Registry()
    origin = OriginCounts(CacheCounts())
    metrics = Metrics(registry, "0", 1, dict.fromkeys(Gauge, lambda: 0), collect=origin.put_into)
    metrics.request_ended("/", "GET", 200, 0.0)
    metrics.bytes_sent("image", 1)
    metrics.lease_document_loaded("keys")
    metrics.lease_document_loaded("revocations")
    return registry.collect()


def _metric_row(family: Metric) -> str:
    name = family.name + ("_total" if family.type == "counter" else "")
    values: dict[str, list[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if label != "le" and value not in values.setdefault(label, []):
                values[label].append(value)
    labels = "; ".join(_label(label, found) for label, found in values.items())
    return f"| `{name}` | {family.type} | {labels} | {family.documentation} |\n"


def _label(label: str, values: Iterable[str]) -> str:
    if label in _NAMED_IN_TEXT:
        return f"`{label}`"
    return f"`{label}`: " + ", ".join(f"`{value}`" for value in values)


def cli_page() -> str:
    """Return the page of the operator's command: a table, then a section for each."""
    commands = tuple(_commands("aero-storage", command))
    rows = [f"| [`{name}`](#{name.replace(' ', '-')}) | {one.get_short_help_str(200)} |\n" for name, one in commands]
    return _CLI + "".join(rows) + "".join(_section(name, one) for name, one in commands)


def _commands(name: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Yield each command that does something, with its whole name."""
    for word, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from _commands(f"{name} {word}", one)
        else:
            yield f"{name} {word}", one


def _section(name: str, one: click.Command) -> str:
    context = click.Context(one, info_name=name)
    usage = " ".join([name, *one.collect_usage_pieces(context)])
    records = [parameter.get_help_record(context) for parameter in one.params if isinstance(parameter, click.Option)]
    rows = [
        f"| `{_in_cell(flags)}` | {_in_cell(' '.join(text.split()))} |\n" for flags, text in filter(None, records)
    ]
    text = inspect.cleandoc(one.help or "")
    table = "".join(["| Option | Meaning |\n| --- | --- |\n", *rows])
    return f"\n## {name}\n\n```text\n{usage}\n```\n\n{text}\n\n{table}"


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|")


def _version() -> str:
    document = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    version: str = document["project"]["version"]
    return version


def npm_package() -> str:
    """Return `package.json` with the version of `pyproject.toml`."""
    document = json.loads((PROJECT / "browser" / "package.json").read_text(encoding="utf-8"))
    return json.dumps({**document, "version": _version()}, indent=2) + "\n"


def _tree() -> Command:
    return command_tree(command, "aero-storage")


FILES: Mapping[str, Callable[[], str]] = {
    "docs/reference/settings.md": lambda: NOTE + settings_page(),
    "docs/reference/metrics.md": lambda: NOTE + metrics_page(),
    "docs/reference/cli.md": lambda: NOTE + cli_page(),
    "browser/package.json": npm_package,
    "share/man/man1/aero-storage.1": lambda: manual_of_commands(_tree(), _version()),
    "share/man/man8/twistd-aero-storage.8": lambda: manual_of_settings(_version()),
    "share/bash-completion/completions/aero-storage": lambda: bash_completion(_tree()),
    "share/zsh/site-functions/_aero-storage": lambda: zsh_completion(_tree()),
    "share/fish/vendor_completions.d/aero-storage.fish": lambda: fish_completion(_tree()),
}


def main(directory: Path) -> None:
    """Write all files below a directory."""
    for name, make in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else PROJECT)
