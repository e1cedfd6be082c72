"""`aero-storage lease revoke`: adds a line to the daemon's file of revocations."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import click

from aero_storage.atomic_files import replace_file
from aero_storage.cli.lease_files import PUBLIC_MODE, TimeType, changing, format_time, read_lease, with_lease
from aero_storage.cli.lease_options import with_leeway, with_max_lifetime
from aero_storage.cli.options import CommandContext, ImageIdType, with_json, with_lock_timeout
from aero_storage.errors import LeaseDocumentError, OperatorError
from aero_storage.http.leases.claims import MAX_IDENTIFIER, MAX_SUBJECT, is_visible, parse_claims, time_of
from aero_storage.http.leases.results import LeaseRefusedError
from aero_storage.http.leases.revocations import Revocation, parse_lines
from aero_storage.http.leases.tokens import parse_token

_AT = "at"
"""A key of ours: when a line without `before` was written. The daemon ignores it; this command drops by it."""


@click.command("revoke", short_help="Revoke leases.")
@with_lease
@click.option(
    "--revocations",
    "revocations_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The daemon's file of revocations; it is created if it is missing.",
)
@click.option("--jti", metavar="NAME", help="Revoke the lease of this name.")
@click.option("--sub", metavar="USER", help="Revoke the leases of this user that were issued before now.")
@click.option("--image", type=ImageIdType(), metavar="ID", help="Revoke for this image the leases issued before now.")
@click.option("--kid", metavar="KEY", help="Revoke all leases of the key of this name.")
@click.option(
    "--before", type=TimeType(), metavar="TIME", help="With --sub or --image: those issued before this time."
)
@with_max_lifetime
@with_leeway
@with_lock_timeout
@with_json
@click.pass_obj
def revoke_lease(  # noqa: PLR0913, PLR0917 - the flags of a command
    context: CommandContext,
    lease: str | None,
    revocations_file: Path,
    jti: str | None,
    sub: str | None,
    image: str | None,
    kid: str | None,
    before: float | None,
    max_lifetime: float,
    leeway: float,
) -> None:
    """Revoke a lease (- for standard input, @FILE), or all of a name, a user, an image or a key.

    A running daemon knows of it within a second. Lines that can hit no lease any more are dropped from the file.
    """
    now = time.time()
    revocation = _revocation(_named(lease, jti, sub, image, kid), before, now)
    with changing(revocations_file, context.waiting):
        kept, dropped = _still_needed(revocations_file, now - max_lifetime - leeway)
        line = _line(revocation, now)
        replace_file(revocations_file, b"".join([*kept, line]), PUBLIC_MODE)
    document = {**json.loads(line), "dropped": dropped}
    context.output.result(
        document, f"Revoked: {_in_words(revocation)}{f'; {dropped} old lines dropped' if dropped else ''}"
    )


def _named(
    lease: str | None, jti: str | None, sub: str | None, image: str | None, kid: str | None
) -> tuple[str, str]:
    """Return the one thing that is to be revoked: its claim, and the value of that."""
    given = [
        (name, text) for name, text in (("jti", jti), ("sub", sub), ("img", image), ("kid", kid)) if text is not None
    ]
    if lease is not None:
        given.append(("jti", _name_of(read_lease(lease))))
    if len(given) != 1:
        raise click.UsageError("name one of: a lease (- or @FILE), --jti, --sub, --image, --kid")
    (name, text) = given[0]
    limit = MAX_SUBJECT if name == "sub" else MAX_IDENTIFIER
    if name in {"jti", "sub"} and not is_visible(text, limit):
        raise click.UsageError(f"--{name} takes 1 to {limit} visible characters of ASCII: no lease has another one")
    return name, text


def _name_of(text: str) -> str:
    try:
        name = parse_claims(parse_token(text).payload).identifier
    except LeaseRefusedError as error:
        raise OperatorError(f"this is no lease: {error}") from error
    if name is None:
        raise OperatorError("this lease has no `jti` to revoke it by; revoke its user (--sub) or its image (--image)")
    return name


def _revocation(named: tuple[str, str], before: float | None, now: float) -> Revocation:
    name, text = named
    if name in {"sub", "img"}:
        return Revocation(name, text, round(now if before is None else before, 3))
    if before is not None:
        raise click.UsageError("--before goes with --sub and --image")
    return Revocation(name, text)


def _still_needed(path: Path, oldest: float) -> tuple[list[bytes], int]:
    """Return the lines that may still hit a lease, as they are, and the number of the others."""
    try:
        lines = [line for line in BytesIO(path.read_bytes()) if line.strip(b" \t\r\n")]
    except FileNotFoundError:
        return [], 0
    try:
        kept = [_ended(line) for line, when in _with_times(lines) if when > oldest]
    except LeaseDocumentError as error:
        raise LeaseDocumentError(f"{path}: {error}; mend it first, as the daemon does not take it either") from error
    return kept, len(lines) - len(kept)


def _with_times(lines: list[bytes]) -> Iterator[tuple[bytes, float]]:
    """Yield each line with the time of the latest lease that it may hit."""
    for line, revocation in zip(lines, parse_lines(lines), strict=True):
        moment = time_of(json.loads(line).get(_AT)) if revocation.kind == "jti" else None
        yield line, revocation.before if moment is None else moment


def _ended(line: bytes) -> bytes:
    return line if line.endswith(b"\n") else line + b"\n"


def _line(revocation: Revocation, now: float) -> bytes:
    values: dict[str, object] = {revocation.kind: revocation.value}
    timed = revocation.kind in {"sub", "img"}
    values["before" if timed else _AT] = revocation.before if timed else int(now)
    return json.dumps(values).encode("ascii") + b"\n"


def _in_words(revocation: Revocation) -> str:
    what = {
        "jti": "the lease",
        "sub": "leases of the user",
        "img": "leases for the image",
        "kid": "leases of the key",
    }
    timed = revocation.kind in {"sub", "img"}
    return f"{what[revocation.kind]} {revocation.value}" + (
        f" issued before {format_time(revocation.before)}" if timed else ""
    )
