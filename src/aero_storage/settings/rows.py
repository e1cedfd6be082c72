"""A row of the table of settings: the names of one setting, its parser and its help text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from aero_storage.settings import values


@attrs.frozen
class Setting:
    """A row of the table: names, parser, and help text of one setting."""

    name: str
    flag: str  # with its dashes
    twin: str  # the --no-… of a boolean, or empty
    variable: str
    key: str  # in the configuration file
    help: str
    metavar: str
    kind: str  # boolean, integer, number, string, or array of strings
    is_boolean: bool
    is_list: bool
    parse: Callable[[str], object]
    default: str = ""  # as text; empty where nothing is the default
    is_secret: bool = False
    may_be_none: bool = False


def row(name: str, kind: str, **rest: Any) -> Setting:
    """Make the row of a setting of this kind: its names are made of one; `rest` are the other fields."""
    dashed, is_boolean = name.replace("_", "-"), kind == "boolean"
    names = {"key": name, "flag": f"--{dashed}", "variable": f"AERO_STORAGE_{name.upper()}", **rest}
    twin = f"--no-{dashed}" if is_boolean else ""
    return Setting(name, kind=kind, is_boolean=is_boolean, is_list=kind == "array of strings", twin=twin, **names)


CONFIG = row("config", "string", key="", help="Read settings from this TOML file.", metavar="FILE", parse=values.path)
