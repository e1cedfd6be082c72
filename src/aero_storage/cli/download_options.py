"""Options of the commands that fetch from registries of packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from aero_storage.chunks.verify.remote import checked_url
from aero_storage.cli.downloads.debian import PUBLIC_MIRROR
from aero_storage.cli.downloads.npm import PUBLIC_REGISTRY
from aero_storage.errors import OperatorError

_F = TypeVar("_F", bound=Callable[..., Any])


def _url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        return checked_url(value)
    except OperatorError as error:
        raise click.BadParameter(str(error)) from error


def with_registries(command: _F) -> _F:
    """Add `--registry` and `--mirror`."""
    command = click.option(
        "--mirror",
        callback=_url,
        default=PUBLIC_MIRROR,
        show_default=True,
        metavar="URL",
        help="A mirror of Debian. By http it is used if gpgv and debian-archive-keyring are installed.",
    )(command)
    return click.option(
        "--registry",
        callback=_url,
        default=PUBLIC_REGISTRY,
        show_default=True,
        metavar="URL",
        help="A registry with the protocol of npm's.",
    )(command)
