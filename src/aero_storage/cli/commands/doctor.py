"""`aero-storage doctor`: checks a running server, and any proxy in front of it, as clients see them."""

from __future__ import annotations

import os
import re
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path

import click

from aero_storage import settings
from aero_storage.cli.lease_files import LEASE_VARIABLE, read_lease
from aero_storage.cli.options import CommandContext, ImageIdType, with_json
from aero_storage.cli.watching import watched
from aero_storage.doctor.http_client import HttpClient
from aero_storage.doctor.lease import read_claims
from aero_storage.doctor.result import CheckResult, Result, Severity
from aero_storage.doctor.runner import CHECKS, DoctorReport, run_checks
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import Target, parse_target
from aero_storage.errors import OperatorError
from aero_storage.http.leases.carriers import Carrier, Presented
from aero_storage.http.leases.claims import Claims
from aero_storage.sizes import format_size

_WIDTH = 110
_WAIT_SECONDS = 10.0
"""Time for a connection, and for the next bytes."""

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[\t -~]*[!-~])?)")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9_.~-]+)(?::[0-9]{1,5})?|null")


class _HeaderType(click.ParamType[tuple[str, str]]):
    name = "header"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        match = _HEADER.fullmatch(str(value).strip(" "))
        if match is None:
            self.fail("a header is written 'Name: value', in visible ASCII characters", param, ctx)
        return match[1], match[2]


class _OriginType(click.ParamType[str]):
    name = "origin"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).removesuffix("/")
        if not _ORIGIN.fullmatch(text):
            self.fail(f"{value!r} is no origin; write it like https://app.example.com, in lower case", param, ctx)
        return text


@click.command("doctor", short_help="Check a running server as clients meet it.")
@click.argument("url", required=False)
@click.option(
    "--image", type=ImageIdType(), metavar="ID", help="Look at this image; else at the largest of the list."
)
@click.option("--origin", type=_OriginType(), metavar="ORIGIN", help="Where your pages come from; else any origin.")
@click.option("--header", type=_HeaderType(), multiple=True, metavar="'NAME: VALUE'", help="Send this header too.")
@click.option(
    "--lease-file",
    metavar="FILE",
    help="Show the lease in FILE (- for standard input), and look at a private image that it opens; else that of the "
    f"variable {LEASE_VARIABLE}, if it is set.",
)
@click.option("--insecure", is_flag=True, help="Look on if the server's certificate is not valid.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up when all of it takes longer.",
)
@with_json
@click.pass_obj
def examine_server(  # noqa: PLR0913, PLR0917 - one for each option
    context: CommandContext,
    url: str | None,
    image: str | None,
    origin: str | None,
    header: tuple[tuple[str, str], ...],
    lease_file: str | None,
    insecure: bool,  # noqa: FBT001 - click's
    timeout: float,
) -> int:
    """Check a running server from outside: ranges, CORS, caching, leases, and what a proxy in front of it may break.

    URL is that of a server (https://images.example.com), of an image or its chunks; without it, the daemon that the
    settings describe. Every finding says what was seen, what it means to clients and how to mend it. A few MiB are
    read. The status is 1 if anything fails; warnings do not.
    """
    target, named = _target_of(url or own_url(context.settings))
    if image is not None and named not in (None, image):
        raise click.UsageError(f"the URL names the image {named}, --image {image}")
    lease, claims = _lease_of(lease_file)
    _check_use(claims, image or named, dict(header))
    ends = time.monotonic() + timeout
    client = HttpClient(target, min(timeout, _WAIT_SECONDS), dict(header), lease, insecure, ends)
    session = Session(client, image or named, origin, claims=claims)
    with closing(client), watched(context.output.say) as work:
        report = run_checks(session, lambda number, check: work.begin(f"{number} of {len(CHECKS)}: {check.name}"))
    context.output.result(_document(session, report), *_lines(session, report))
    return 0 if report.is_good else 1


def _target_of(url: str) -> tuple[Target, str | None]:
    try:
        return parse_target(url)
    except OperatorError as error:
        raise click.UsageError(str(error)) from error


def _lease_of(lease_file: str | None) -> tuple[Presented | None, Claims | None]:
    """Return the lease as a bearer, and what it claims; None and None without one."""
    if lease_file is None and not os.environ.get(LEASE_VARIABLE, "").strip():
        return None, None
    token = read_lease(lease_file if lease_file in {None, "-"} else _named_file(str(lease_file)))
    return Presented(Carrier.BEARER, token), read_claims(token)


def _named_file(name: str) -> str:
    """Return the name as `read_lease` takes it. Raises UsageError without repeating it: it may be the lease."""
    try:
        is_file = Path(name).is_file()
    except OSError:  # longer than names of files are
        is_file = False
    if not is_file:
        raise click.UsageError("--lease-file names no file; it takes the name of a file, not the lease")
    return f"@{name}"


def _check_use(claims: Claims | None, image: str | None, headers: dict[str, str]) -> None:
    if claims is None:
        return
    if "authorization" in {name.lower() for name in headers}:
        raise click.UsageError("a lease is sent as Authorization: take --header Authorization out")
    if image is not None and image not in claims.images:
        raise click.UsageError(f"the lease does not name the image {image}, but {', '.join(claims.images)}")


def own_url(resolved: settings.Settings) -> str:
    """Return the URL of the daemon's address in the settings."""
    if resolved.endpoint or not resolved.listen_addr.port:
        raise click.UsageError("the settings name no address that one could ask; give the URL")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(resolved.listen_addr.host, resolved.listen_addr.host)  # noqa: S104
    return f"http://{settings.ListenAddress(host, resolved.listen_addr.port)}"


def _document(session: Session, report: DoctorReport) -> dict[str, object]:
    return {
        "ok": report.is_good,
        "url": session.client.target.url,
        "image": session.image_id,
        "failures": report.count(Severity.FAILURE),
        "warnings": report.count(Severity.WARNING),
        "skipped": report.count(Severity.SKIPPED),
        "bytes": session.client.received,
        "checks": [
            {
                "check": one.check,
                "title": one.title,
                "verdict": one.result.severity.value,
                "seen": one.result.seen,
                "means": one.result.means,
                "mend": one.result.remedy,
            }
            for one in report.results
        ],
    }


def _lines(session: Session, report: DoctorReport) -> Iterator[str]:
    for _, group in groupby(report.results, _entry):
        results = list(group)
        yield from _result_lines(results[0].result, ", ".join(check_result.check for check_result in results))
    counts = ", ".join(
        f"{report.count(severity)} {word}"
        for severity, word in (
            (Severity.PASS, "passed"),
            (Severity.WARNING, "warnings"),
            (Severity.FAILURE, "failures"),
            (Severity.SKIPPED, "skipped"),
        )
    )
    image = f", image {session.image_id}" if session.image_id else ""
    yield f"{session.client.target.url}{image}: {counts}; {format_size(session.client.received)} read"


def _entry(check_result: CheckResult) -> object:
    """Return a key that groups checks skipped for one reason into one report."""
    return check_result.result if check_result.result.severity is Severity.SKIPPED else check_result.check


def _result_lines(result: Result, checks: str) -> Iterator[str]:
    word = result.severity.value.upper() if result.means else result.severity.value
    yield from _wrapped(f"{word:8} {checks}: {result.seen}")
    if result.means:
        yield from _wrapped(f"{'':8} means: {result.means}")
        yield from _wrapped(f"{'':8} mend: {result.remedy}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=" " * 11, break_long_words=False, break_on_hyphens=False)
