"""The daemon's flags as options of commands, made from the table of settings."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

import click

from aero_storage import settings

_F = TypeVar("_F", bound=Callable[..., Any])


def setting_flag(row: settings.Setting, meaning: str, *, hidden: bool = False) -> Callable[[_F], _F]:
    """Return a decorator that adds the daemon's flag of a setting to a command."""

    def take(context: click.Context, _parameter: click.Parameter, value: object) -> None:
        if value is None or value == ():
            return
        texts = [str(one) for one in value] if isinstance(value, tuple) else [str(value)]
        given = [text.lower() for text in texts] if row.is_boolean else texts
        context.obj.given[row.name] = given  # of the CommandContext

    return click.option(
        f"{row.flag}/{row.twin}" if row.twin else row.flag,
        metavar=row.metavar or None,
        default=None,
        multiple=row.is_list,
        expose_value=False,
        callback=take,
        help=meaning,
        hidden=hidden,
    )


def with_settings(*names: str) -> Callable[[_F], _F]:
    """Return a decorator that adds the daemon's flags of these settings to a command."""
    rows = {row.name: row for row in settings.table()}

    def decorate(command: _F) -> _F:
        for name in reversed(names):
            command = setting_flag(rows[name], f"As given to the daemon: {rows[name].help}")(command)
        return command

    return decorate


def with_all_settings(shown: Collection[str]) -> Callable[[_F], _F]:
    """Return a decorator that adds each flag of the daemon to a command; its help shows those of `shown` settings."""

    def decorate(command: _F) -> _F:
        for row in reversed((*settings.table(), settings.CONFIG)):
            command = setting_flag(row, row.help, hidden=row.name not in shown)(command)
        return command

    return decorate
