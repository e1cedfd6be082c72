"""`aero-storage lease check`: says in words whether a lease is good, and if not, what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import click

from aero_storage.cli.lease_files import format_time, read_file, read_lease, with_keys, with_lease
from aero_storage.cli.lease_options import with_audience, with_leeway, with_max_lifetime
from aero_storage.cli.options import CommandContext, ImageIdType, with_json
from aero_storage.errors import LeaseDocumentError
from aero_storage.http.leases.claims import READ_SCOPE, Claims, parse_claims
from aero_storage.http.leases.issuing import Keyring
from aero_storage.http.leases.judgement import Wanted, judge
from aero_storage.http.leases.jwk import MAX_KEY_SET_BYTES, parse_jwk_set
from aero_storage.http.leases.key_set import KeySet, parse_key_set
from aero_storage.http.leases.results import LeaseRefusedError, LeaseResult
from aero_storage.http.leases.revocations import NO_REVOCATIONS, Revocations, read_revocations
from aero_storage.http.leases.tokens import parse_token
from aero_storage.http.leases.verification import LeaseRules, LeaseVerifier


@attrs.frozen
class _Finding:
    """The answer of a check."""

    result: LeaseResult
    reason: str
    claims: Claims | None


@attrs.frozen
class _Question:
    """The image, the version and the carrier that a lease is checked for."""

    image_id: str | None
    version: str | None
    in_url: bool


@click.command("check", short_help="Say whether a lease is good, and why not.")
@with_lease
@with_keys("The daemon's file of keys, or the issuer's.")
@click.option(
    "--revocations",
    "revocations_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The daemon's file of revocations.",
)
@click.option(
    "--image", type=ImageIdType(), metavar="ID", help="Ask for this image; else for the first that it names."
)
@click.option("--ver", metavar="VERSION", help="Ask for this version of it.")
@click.option("--in-url", is_flag=True, help="Ask whether it is good in a URL.")
@with_audience("As given to the daemon: the audience that leases must have.")
@with_max_lifetime
@with_leeway
@with_json
@click.pass_obj
def check_lease(  # noqa: PLR0913, PLR0917 - the flags of a command
    context: CommandContext,
    lease: str | None,
    keys_file: Path,
    revocations_file: Path | None,
    image: str | None,
    ver: str | None,
    in_url: bool,  # noqa: FBT001 - click's
    audience: str | None,
    max_lifetime: float,
    leeway: float,
) -> int:
    """Say whether a lease is good now, as the daemon would, and what it opens.

    The lease comes from standard input (-), from a file (@FILE), or from the variable AERO_STORAGE_LEASE. The exit
    status is 1 if it is not good.
    """
    text = read_lease(lease)
    rules = LeaseRules(audience, max_lifetime, leeway)
    verifier = LeaseVerifier(_read_keys(keys_file, context), _read_revocations(revocations_file), rules)
    finding = _examine(text, verifier, _Question(image, ver, in_url), time.time())
    context.output.result(_document(finding), *_lines(finding))
    return int(finding.result is not LeaseResult.OK)


def _read_keys(path: Path, context: CommandContext) -> KeySet:
    try:
        found = parse_jwk_set(read_file(path, MAX_KEY_SET_BYTES))
        keys = parse_key_set(Keyring(found.keys).public_set())
    except LeaseDocumentError as error:
        raise LeaseDocumentError(f"{path}: {error}") from error
    for warning in found.warnings:
        context.output.say(f"{path}: {warning}")
    return keys


def _read_revocations(path: Path | None) -> Revocations:
    if path is None:
        return NO_REVOCATIONS
    try:
        with path.open("rb") as file:
            return read_revocations(file, float("-inf"))
    except LeaseDocumentError as error:
        raise LeaseDocumentError(f"{path}: {error}") from error


def _examine(text: str, verifier: LeaseVerifier, question: _Question, now: float) -> _Finding:
    try:
        lease = verifier.verify(text)
    except LeaseRefusedError as error:
        return _Finding(error.result, str(error), _claims_of(text))
    versions = None if question.version is None else (question.version,)
    wanted = Wanted(question.image_id or lease.claims.images[0], versions)
    result = judge(lease, wanted, now, verifier.rules.leeway, in_url=question.in_url)
    return _Finding(result, _explain(result, lease.claims, wanted, now), lease.claims)


def _claims_of(text: str) -> Claims | None:
    """Return what a refused lease claims, whoever has signed it; None if that cannot be read."""
    try:
        return parse_claims(parse_token(text).payload)
    except LeaseRefusedError:
        return None


def _explain(result: LeaseResult, claims: Claims, wanted: Wanted, now: float) -> str:
    ended = claims.expires_at if now >= claims.expires_at else claims.url_until
    words = {
        LeaseResult.OK: f"it opens {wanted.image_id} for {claims.remaining(now)} seconds more",
        LeaseResult.REVOKED: f"it is revoked for {wanted.image_id}",
        LeaseResult.EXPIRED: f"it ended at {format_time(ended or 0)}, by this machine's clock",
        LeaseResult.NOT_YET: "its `iat` or `nbf` lies ahead of this machine's clock",
        LeaseResult.WRONG_SCOPE: f"its `scope` does not have {READ_SCOPE}",
        LeaseResult.WRONG_IMAGE: f"its `img` does not name {wanted.image_id}",
        LeaseResult.WRONG_VERSION: f"it is for the version {claims.version} alone",
    }
    return words[result]


def _document(finding: _Finding) -> dict[str, object]:
    claims = finding.claims
    return {
        "result": str(finding.result),
        "reason": finding.reason,
        "claims": None if claims is None else dict(_shown(claims)),
    }


def _lines(finding: _Finding) -> Iterator[str]:
    yield f"{finding.result}: {finding.reason}"
    for name, value in _shown(finding.claims) if finding.claims is not None else ():
        yield f"  {name}: {', '.join(value) if isinstance(value, list) else value}"


def _shown(claims: Claims) -> Iterator[tuple[str, str | list[str]]]:
    """Yield the claims that are there, by their names."""
    yield "img", [*claims.images]
    yield "scope", sorted(claims.scopes)
    times = (claims.issued_at, claims.expires_at, claims.not_before, claims.url_until)
    for name, moment in zip(("iat", "exp", "nbf", "uexp"), times, strict=True):
        if moment is not None:
            yield name, format_time(moment)
    for name, text in (("sub", claims.subject), ("jti", claims.identifier), ("ver", claims.version)):
        if text is not None:
            yield name, text
    if claims.audience:
        yield "aud", [*claims.audience]
