"""`aero-storage lease issue`: signs a lease, and prints it alone, in URLs, or as cookies."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import click

from aero_storage.cli.lease_files import read_keyring, with_keys
from aero_storage.cli.lease_options import with_audience, with_max_lifetime
from aero_storage.cli.options import CommandContext, ImageIdType, SpanType, with_json
from aero_storage.http.leases.carriers import COOKIES, PARAMETER
from aero_storage.http.leases.claims import MAX_IDENTIFIER, MAX_IMAGES, MAX_SUBJECT, READ_SCOPE, Claims, is_visible
from aero_storage.http.leases.issuing import sign_lease
from aero_storage.sizes import format_span

_FOR_SECONDS = 900.0
_JTI_BYTES = 16
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,128}")


@attrs.frozen
class _Form:
    """How a lease is printed."""

    base_url: str | None
    """Before the paths of images."""
    as_cookie: bool

    def lines(self, token: str, claims: Claims) -> Iterator[str]:
        """Yield the lines of a lease: one for each image, or the token."""
        if self.base_url is None and not self.as_cookie:
            yield token
            return
        for image in claims.images:
            path = f"/v1/images/{image}"
            if self.base_url is None:
                yield _cookie(token, path, claims)
            else:
                yield f"{self.base_url}{path}{'/lease?cookie=1&' if self.as_cookie else '?'}{PARAMETER}={token}"


def _cookie(token: str, path: str, claims: Claims) -> str:
    """Return the value of `Set-Cookie` for one image (http.md §12)."""
    seconds = claims.remaining(claims.issued_at)
    return f"{COOKIES[0]}={token}; Path={path}; HttpOnly; Max-Age={seconds}; Secure; SameSite=Lax"


class _BaseUrlType(click.ParamType[str]):
    name = "url"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).rstrip("/")
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            self.fail("a URL such as https://disks.example.com, without a query", param, ctx)
        return text


@click.command("issue", short_help="Sign a lease.")
@click.argument("images", metavar="ID...", nargs=-1, required=True, type=ImageIdType())
@with_keys("The issuer's file of keys; the first one signs.")
@click.option(
    "--for",
    "seconds",
    type=SpanType(),
    default=_FOR_SECONDS,
    metavar="TIME",
    help="Let it be good for so long; 15m by default.",
)
@click.option("--sub", metavar="USER", help="Whose lease it is: the user in the daemon's log, and for revocation.")
@click.option("--jti", metavar="NAME", help="Call it so, for log and revocation; else by 32 random hex digits.")
@click.option("--ver", metavar="VERSION", help="Let it open this version alone.")
@click.option("--url", "base_url", type=_BaseUrlType(), metavar="BASE", help="Print a URL below BASE for each image.")
@click.option("--url-for", type=SpanType(), metavar="TIME", help="Let it be good in a URL for so long only.")
@click.option("--cookie", is_flag=True, help="Print cookies; with --url, URLs that set them.")
@with_audience("Let it be for this audience, as given to the daemon.")
@with_max_lifetime
@with_json
@click.pass_obj
def issue_lease(  # noqa: PLR0913, PLR0917 - the flags of a command
    context: CommandContext,
    images: tuple[str, ...],
    keys_file: Path,
    seconds: float,
    sub: str | None,
    jti: str | None,
    ver: str | None,
    base_url: str | None,
    url_for: float | None,
    cookie: bool,  # noqa: FBT001 - click's
    audience: str | None,
    max_lifetime: float,
) -> None:
    """Sign a lease for the images ID and print it: it lets its holder read them while it is good.

    Print it where only its user sees it: it is a password with a date.
    """
    _check_names(sub, jti, ver)
    _check_times(seconds, url_for, max_lifetime)
    now = float(int(time.time()))
    claims = Claims(
        images=_distinct(images),
        scopes=frozenset({READ_SCOPE}),
        issued_at=now,
        expires_at=now + seconds,
        audience=(audience,) if audience is not None else (),
        subject=sub,
        identifier=jti or secrets.token_hex(_JTI_BYTES),
        url_until=now + url_for if url_for is not None else None,
        version=ver,
    )
    _print(context, keys_file, claims, _Form(base_url, cookie))


def _print(context: CommandContext, keys_file: Path, claims: Claims, form: _Form) -> None:
    token = sign_lease(read_keyring(keys_file, context.output.say).signing_key(), claims)
    lines = [*form.lines(token, claims)]
    document: dict[str, object] = {"lease": token, "jti": claims.identifier, "expires_at": claims.expires_at}
    if lines != [token]:
        document["cookies" if form.base_url is None else "urls"] = lines
    context.output.result(document, *lines)


def _distinct(images: tuple[str, ...]) -> tuple[str, ...]:
    distinct = tuple(dict.fromkeys(images))
    if len(distinct) > MAX_IMAGES:
        raise click.UsageError(f"a lease opens {MAX_IMAGES} images at most")
    return distinct


def _check_names(sub: str | None, jti: str | None, ver: str | None) -> None:
    for flag, text, limit in (("--sub", sub, MAX_SUBJECT), ("--jti", jti, MAX_IDENTIFIER)):
        if text is not None and not is_visible(text, limit):
            raise click.UsageError(f"{flag} takes 1 to {limit} visible characters of ASCII, and no spaces")
    if ver is not None and not _VERSION.fullmatch(ver):
        raise click.UsageError("--ver takes 1 to 128 characters of A-Z a-z 0-9 . _ -")


def _check_times(seconds: float, url_for: float | None, max_lifetime: float) -> None:
    if seconds > max_lifetime:
        raise click.UsageError(
            f"the daemon refuses a lease that is good for more than {format_span(max_lifetime)} "
            "(--lease-max-lifetime-secs)"
        )
    if url_for is not None and url_for > seconds:
        raise click.UsageError("--url-for is at most the time of --for")
