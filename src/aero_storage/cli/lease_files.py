"""Files of lease keys and revocations, tokens and times, as the commands of leases take them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from aero_storage.atomic_files import Waiting, locked, replace_file
from aero_storage.errors import LeaseDocumentError, OperatorError
from aero_storage.http.dates import NANOSECONDS, format_rfc3339, parse_rfc3339
from aero_storage.http.leases.issuing import Keyring, parse_keyring
from aero_storage.http.leases.jwk import MAX_KEY_SET_BYTES
from aero_storage.http.leases.tokens import MAX_TOKEN_BYTES

LEASE_VARIABLE = "AERO_STORAGE_LEASE"
"""The variable that a command takes a lease from, where it is named by nothing else."""

SECRET_MODE = 0o600
PUBLIC_MODE = 0o644
_OTHERS_MAY_READ = 0o004
_STANDARD_INPUT = "-"
_LAST_SECOND = 253402300799  # 9999-12-31T23:59:59Z
_F = TypeVar("_F", bound=Callable[..., Any])


def with_keys(meaning: str) -> Callable[[_F], _F]:
    """Return a decorator that adds `--keys FILE` to a command."""
    path = click.Path(path_type=Path, dir_okay=False)
    return click.option("--keys", "keys_file", type=path, required=True, metavar="FILE", help=meaning)


@contextmanager
def changing(path: Path, waiting: Waiting) -> Iterator[None]:
    """Keep other commands from changing a file for a with block."""
    if not path.parent.is_dir():
        raise OperatorError(f"{path.parent} is no directory; create it first")
    with locked(path.with_name(f".{path.name}.lock~"), waiting):
        yield


def read_file(path: Path, limit: int) -> bytes:
    """Return the bytes of a file. Raises OperatorError if there is none, or if it is longer than `limit`."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise OperatorError(f"there is no file {path}") from error
    if len(data) > limit:
        raise OperatorError(f"{path} is longer than {limit} bytes")
    return data


def read_keyring(path: Path, say: Callable[[str], None]) -> Keyring:
    """Return the keys of an issuer's file. Raises LeaseDocumentError, with the name of the file."""
    try:
        ring = parse_keyring(read_file(path, MAX_KEY_SET_BYTES))
    except LeaseDocumentError as error:
        raise LeaseDocumentError(f"{path}: {error}") from error
    if path.stat().st_mode & _OTHERS_MAY_READ:
        say(f"{path} has secrets, and every user of this machine may read it: chmod o-r {path}")
    return ring


def write_keyring(path: Path, ring: Keyring) -> None:
    """Replace an issuer's file; a new one is for its owner alone."""
    replace_file(path, ring.private_set(), SECRET_MODE)


def read_lease(named: str | None) -> str:
    """Return the token that `-`, `@FILE` or, if nothing is named, the variable gives.

    Raises click.UsageError for none; `with_lease` has refused a token as an argument.
    """
    if named is None:
        text = os.environ.get(LEASE_VARIABLE, "")
        if not text:
            raise click.UsageError(f"name the lease: - (standard input), @FILE, or the variable {LEASE_VARIABLE}")
        return text.strip()
    if named == _STANDARD_INPUT:
        return _only_line(sys.stdin.buffer.read(2 * MAX_TOKEN_BYTES))
    return _only_line(read_file(Path(named.removeprefix("@")), 2 * MAX_TOKEN_BYTES))


def refuse_token(_context: click.Context, _parameter: click.Parameter, named: str | None) -> str | None:
    """Return `-`, `@FILE` or None. Raises click.UsageError for a token as an argument, without repeating it."""
    if named is None or named == _STANDARD_INPUT or named.startswith("@"):
        return named
    raise click.UsageError(
        "a lease as an argument shows in the list of processes: pass it by - (standard input), @FILE, "
        f"or the variable {LEASE_VARIABLE}"
    )


with_lease = click.argument("lease", metavar="[-|@FILE]", required=False, callback=refuse_token, is_eager=True)
"""An argument that names a lease; refused before anything else of the command line is, if it is one."""


def _only_line(data: bytes) -> str:
    return data.decode("latin-1").strip()


def format_time(seconds: float) -> str:
    """Return a time as RFC 3339 writes it, to the millisecond; one that no calendar has, in seconds."""
    if not 0 <= seconds < _LAST_SECOND:
        return f"{seconds:g}"
    return format_rfc3339(round(seconds * 1000) * (NANOSECONDS // 1000))


class TimeType(click.ParamType[float]):
    """A time: seconds since the epoch, or as RFC 3339 writes it; it becomes seconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a time; a default is a number already."""
        if isinstance(value, float):
            return value
        text = str(value)
        moment = parse_rfc3339(text)
        if moment is not None:
            return moment / NANOSECONDS
        if not (text.isascii() and text.replace(".", "", 1).isdecimal()):
            self.fail(
                f"{text!r} is no time; write it like 2027-01-15T08:00:00Z, or in seconds since 1970", param, ctx
            )
        return float(text)
