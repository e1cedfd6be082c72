"""`aero-storage doctor`: does a running server, and what is in front of it, give clients what they need."""

from __future__ import annotations

import re
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import groupby

import attrs
import click

from aero_storage import settings
from aero_storage.cli.options import CommandContext, ImageIdType, with_json
from aero_storage.cli.output import Output
from aero_storage.cli.sizes import format_size
from aero_storage.doctor.check import Check
from aero_storage.doctor.http_client import HttpClient
from aero_storage.doctor.result import CheckResult, Result, Severity
from aero_storage.doctor.runner import CHECKS, DoctorReport, run_checks
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import Target, parse_target
from aero_storage.errors import OperatorError

_WIDTH = 110
_NOTICE_SECONDS = 2.0
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[\t -~]*[!-~])?)")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9_.~-]+)(?::[0-9]{1,5})?|null")


@attrs.define(eq=False)
class _Progress:
    """Says now and then how far it has come."""

    output: Output
    _doing: str = attrs.field(init=False, default="")
    _told: str = attrs.field(init=False, default="")

    def begin(self, number: int, check: Check) -> None:
        self._doing = f"{number} of {len(CHECKS)}: {check.name}"

    def tell(self) -> None:
        """Say it, unless it was said."""
        if self._doing != self._told:
            self._told = self._doing
            self.output.say(self._doing)


@contextmanager
def _telling(output: Output) -> Iterator[_Progress]:
    """Tell progress for the length of a with block, if it takes longer than two seconds."""
    progress, is_over = _Progress(output), threading.Event()

    def watch() -> None:
        while not is_over.wait(_NOTICE_SECONDS):
            progress.tell()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield progress
    finally:
        is_over.set()
        thread.join()


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
@click.option("--insecure", is_flag=True, help="Look on if the server's certificate is not valid.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait this long for a connection, and for the next bytes.",
)
@with_json
@click.pass_obj
def examine_server(  # noqa: PLR0913, PLR0917 - one for each option
    shop: CommandContext,
    url: str | None,
    image: str | None,
    origin: str | None,
    header: tuple[tuple[str, str], ...],
    insecure: bool,  # noqa: FBT001 - click's
    timeout: float,
) -> int:
    """Check a running server from outside: ranges, CORS, caching, and what a proxy in front of it may break.

    URL is that of a server (https://images.example.com), of an image or its chunks; without it, the daemon that the
    settings describe. Every finding says what was seen, what it means to clients and how to mend it. A few MiB are
    read. The status is 1 if anything fails; warnings do not.
    """
    place, named = _where(url or own_url(shop.settings))
    if image is not None and named not in (None, image):
        raise click.UsageError(f"the URL names the image {named}, --image {image}")
    client = HttpClient(place, timeout, dict(header), insecure)
    visit = Session(client, image or named, origin)
    with closing(client), _telling(shop.output) as progress:
        report = run_checks(visit, progress.begin)
    shop.output.result(_document(visit, report), *_lines(visit, report))
    return 0 if report.is_good else 1


def _where(url: str) -> tuple[Target, str | None]:
    try:
        return parse_target(url)
    except OperatorError as error:
        raise click.UsageError(str(error)) from error


def own_url(given: settings.Settings) -> str:
    """Where the daemon listens, as the settings say."""
    if given.endpoint or not given.listen_addr.port:
        raise click.UsageError("the settings name no address that one could ask; give the URL")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(given.listen_addr.host, given.listen_addr.host)  # noqa: S104
    return f"http://{settings.ListenAddress(host, given.listen_addr.port)}"


def _document(visit: Session, report: DoctorReport) -> dict[str, object]:
    return {
        "ok": report.is_good,
        "url": visit.client.place.url,
        "image": visit.wanted,
        "failures": report.count(Severity.FAILURE),
        "warnings": report.count(Severity.WARNING),
        "skipped": report.count(Severity.SKIPPED),
        "bytes": visit.client.received,
        "checks": [
            {
                "check": one.check,
                "title": one.title,
                "verdict": one.outcome.verdict.value,
                "seen": one.outcome.seen,
                "means": one.outcome.means,
                "mend": one.outcome.mend,
            }
            for one in report.findings
        ],
    }


def _lines(visit: Session, report: DoctorReport) -> Iterator[str]:
    for _, group in groupby(report.findings, _entry):
        findings = list(group)
        yield from _outcome_lines(findings[0].outcome, ", ".join(finding.check for finding in findings))
    counts = ", ".join(
        f"{report.count(verdict)} {word}"
        for verdict, word in (
            (Severity.PASS, "passed"),
            (Severity.WARNING, "warnings"),
            (Severity.FAILURE, "failures"),
            (Severity.SKIPPED, "skipped"),
        )
    )
    image = f", image {visit.wanted}" if visit.wanted else ""
    yield f"{visit.client.place.url}{image}: {counts}; {format_size(visit.client.received)} read"


def _entry(finding: CheckResult) -> object:
    """What is told at once: what was skipped for one reason."""
    return finding.outcome if finding.outcome.verdict is Severity.SKIPPED else finding.check


def _outcome_lines(outcome: Result, checks: str) -> Iterator[str]:
    word = outcome.verdict.value.upper() if outcome.means else outcome.verdict.value
    yield from _wrapped(f"{word:8} {checks}: {outcome.seen}")
    if outcome.means:
        yield from _wrapped(f"{'':8} means: {outcome.means}")
        yield from _wrapped(f"{'':8} mend: {outcome.mend}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=" " * 11, break_long_words=False, break_on_hyphens=False)
