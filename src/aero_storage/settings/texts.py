"""Texts about settings: the configuration check, the help, the table of the reference."""

from __future__ import annotations

import json
from textwrap import TextWrapper

from aero_storage.settings.rows import CONFIG, Setting
from aero_storage.settings.sources import Resolved, one_line
from aero_storage.settings.table import table
from aero_storage.settings.values import NONE


def describe(resolved: Resolved) -> str:
    """Return a line for each setting with its value and origin; of secrets only whether they are set."""
    rows = table()
    width = max(len(row.name) for row in rows)
    shown = {row.name: _as_toml(row, getattr(resolved.settings, row.name)) for row in rows}
    lines = [f"{name:{width}} = {value}  ({resolved.origins[name]})" for name, value in shown.items()]
    return "\n".join(one_line(line) for line in lines)


def effective(resolved: Resolved) -> dict[str, object]:
    """Return every setting by its key in the configuration file, as a JSON value; None is unset.

    Of secrets only `set` or `unset` is said.
    """
    return {row.key: _plain(row, getattr(resolved.settings, row.name)) for row in table()}


def _plain(row: Setting, value: object) -> object:
    if row.is_secret:
        return "unset" if value is None else "set"
    if value is None:
        return NONE if row.may_be_none else None
    return value if isinstance(value, bool | int | float | tuple) else str(value)


def _as_toml(row: Setting, value: object) -> str:
    if row.is_secret or (value is None and not row.may_be_none):
        return "(not set)" if value is None else "(set)"
    return json.dumps(_plain(row, value), ensure_ascii=False)


_USAGE = """\
Usage: {program} [options]

Serve large disk images to browsers over HTTP, by ranges or by chunks.

Examples:
  {program} --images-root /srv/images --require-manifest
  {program} --config /etc/aero-storage.toml --check-config

A flag wins over its variable, the variable over the key in the configuration
file (TOML), the key over the default. Lists: repeat the flag, or use commas.
"""
_WRAPPER = TextWrapper(
    80, initial_indent=" " * 6, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False
)


def usage(program: str) -> str:
    """Return the help: purpose, examples, then every setting, wrapped at 80 columns."""
    others = (
        ("--check-config", "Print every setting and where its value comes from, then end."),
        ("--help", "Print this text, then end."),
        ("--version", "Print the version, then end."),
    )
    settings = [_explained(row) for row in (*table(), CONFIG)]
    return "\n".join([_USAGE.format(program=program), *settings, *(_entry(*other) for other in others)])


def _explained(row: Setting) -> str:
    flags = f"{row.flag}, {row.twin}" if row.twin else f"{row.flag} {row.metavar}"
    default = f"Default {row.default}" if row.default else "No default"
    key = f"; key {row.key}" if row.key else ""
    return _entry(flags, row.help, f"{default}; variable {row.variable}{key}.")


def _entry(flags: str, *sentences: str) -> str:
    return "\n".join([f"  {flags}", *map(_WRAPPER.fill, sentences), ""])


def markdown_table() -> str:
    """Return the reference's table of settings."""
    lines = ["| Flag | Variable | File key | Default | Meaning |", "| --- | --- | --- | --- | --- |"]
    for row in table():
        flags = f"`{row.flag}`, `{row.twin}`" if row.twin else f"`{row.flag}`"
        default = f"`{row.default}`" if row.default else "_(unset)_"
        lines.append(f"| {flags} | `{row.variable}` | `{row.key}` | {default} | {row.help} |")
    return "\n".join(lines)
