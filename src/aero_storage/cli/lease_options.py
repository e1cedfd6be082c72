"""Options that the commands of leases have in common: the daemon's rules, by the names of its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from aero_storage.http.leases.verification import LeaseRules

_F = TypeVar("_F", bound=Callable[..., Any])
_BY_DEFAULT = LeaseRules()
_MOST_SECONDS = 10 * 365 * 86400


def _seconds(flag: str, name: str, default: float, meaning: str) -> Callable[[_F], _F]:
    return click.option(
        flag,
        name,
        type=click.FloatRange(0, _MOST_SECONDS),
        default=default,
        metavar="SECONDS",
        help=f"As given to the daemon: {meaning}; {default:g} by default.",
    )


def with_max_lifetime(command: _F) -> _F:
    """Add `--lease-max-lifetime-secs`, the parameter `max_lifetime`."""
    meaning = "the longest time for which a lease may be good"
    return _seconds("--lease-max-lifetime-secs", "max_lifetime", _BY_DEFAULT.max_lifetime, meaning)(command)


def with_leeway(command: _F) -> _F:
    """Add `--lease-leeway-secs`, the parameter `leeway`."""
    meaning = "the time by which clocks may differ"
    return _seconds("--lease-leeway-secs", "leeway", _BY_DEFAULT.leeway, meaning)(command)


def with_audience(meaning: str) -> Callable[[_F], _F]:
    """Return a decorator that adds `--lease-audience`, the parameter `audience`."""
    return click.option("--lease-audience", "audience", metavar="TEXT", help=meaning)
