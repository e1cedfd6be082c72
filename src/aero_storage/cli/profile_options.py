"""Flags that the commands about profiles have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from aero_storage.cli.options import ImageIdType, SizeType
from aero_storage.profiles.document import BOOT
from aero_storage.profiles.learning import DEFAULT_MOST_BYTES, DEFAULT_SECONDS

_F = TypeVar("_F", bound=Callable[..., Any])
_MOST_SECONDS = 3600


def with_name(command: _F) -> _F:
    """Add `--name`."""
    return click.option(
        "--name",
        type=ImageIdType(),
        default=BOOT,
        metavar="NAME",
        help=f"The name of the profile; {BOOT} by default, which clients fetch by themselves.",
    )(command)


def with_rules(command: _F) -> _F:
    """Add `--seconds` and `--profile-max-bytes`."""
    command = click.option(
        "--profile-max-bytes",
        "most_bytes",
        type=SizeType(),
        default=DEFAULT_MOST_BYTES,
        metavar="SIZE",
        help="Leave out what is read last beyond this size; 256MiB by default.",
    )(command)
    return click.option(
        "--seconds",
        type=click.IntRange(1, _MOST_SECONDS),
        default=DEFAULT_SECONDS,
        metavar="SECONDS",
        help=f"The first seconds of a session count; {DEFAULT_SECONDS} by default.",
    )(command)
