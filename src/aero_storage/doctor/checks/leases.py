"""Checks of access to private images, with the lease, without it and with a forged one (http.md §12)."""

from __future__ import annotations

from aero_storage.chunks.verify.remote import brief
from aero_storage.doctor import advice
from aero_storage.doctor.check import Check
from aero_storage.doctor.lease import CHALLENGE, HIDDEN_LEASE, by, forged, is_refusal
from aero_storage.doctor.private_image import FIRST, OPENED, opened, read_with, shown_lease
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, SkippedError, failure, good, warning
from aero_storage.doctor.session import MOST_JSON, Session, entries
from aero_storage.doctor.target import images_path
from aero_storage.http.identifiers import is_image_id, is_version
from aero_storage.http.leases.carriers import Carrier

_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403
_ABSENT = "aero-storage-doctor-looks-for-what-is-not-there"
_MOST_LOOKED_AT = 16
"""Private images of the list that are asked for; the others are as these."""

_OPEN_MEANS = 'whoever knows or guesses the id reads it; "public": false keeps it out of caches, and of nothing else'
_TURN_ON = (
    "twistd aero-storage --lease-keys-file FILE, and give readers leases (aero-storage lease issue); or say "
    '"public": true in the catalog, if all may read it'
)


def _open_images(session: Session) -> Result:
    listing = session.fetch_with(None, "GET", images_path(), most=MOST_JSON)
    if listing.status != _OK or entries(listing) is None:
        raise SkippedError("no list to go by: see image-list")
    private = [str(one.get("id", "")) for one in entries(listing) or [] if one.get("public") is False]
    shown = [image_id for image_id in private if is_image_id(image_id)]
    read = [image_id for image_id in shown[:_MOST_LOOKED_AT] if _reads(session, image_id)]
    if read:
        more = f", and {len(shown) - _MOST_LOOKED_AT} more to ask for" if len(shown) > _MOST_LOOKED_AT else ""
        return warning(f"read without a lease: {', '.join(map(brief, read))}{more}", _OPEN_MEANS, _TURN_ON)
    if shown:
        return warning(
            f"in the list without a lease: {', '.join(map(brief, shown[:_MOST_LOOKED_AT]))}",
            "their ids are known to everybody; the daemon shows public images only, once it asks for leases",
            advice.KEEP_OUT,
        )
    return good("the list shows none to those without a lease")


def _reads(session: Session, image_id: str) -> bool:
    return session.fetch_with(None, "HEAD", images_path(image_id)).status == _OK


def _required(session: Session) -> Result:
    opened(session)  # before: a cache may have kept what the lease opened
    paths = [session.path, *(images_path(session.image, below) for below in ("/data", "/meta", "/lease"))]
    version = session.metadata().get("version")
    if isinstance(version, str) and is_version(version):
        paths.append(images_path(session.image, f"/versions/{version}"))
    for path in paths:
        for method in ("GET", "HEAD"):
            answer = session.fetch_with(None, method, path, FIRST)
            if (fault := _not_refused(answer, "without a lease", _UNAUTHORIZED)) is not None:
                return fault
    return good(f"without a lease a 401 with {CHALLENGE}: {len(paths)} paths")


def _not_refused(answer: Response, how: str, expected: int) -> Result | None:
    """Return the fault of an answer that should be a refusal with this status."""
    if answer.status < 400:  # noqa: PLR2004 - no error
        return failure(
            f"{answer.request}: status {answer.status} {how}", _OPEN_MEANS, f"{_TURN_ON}; {advice.KEEP_OUT}"
        )
    if answer.status != expected:
        return failure(
            f"{answer.request}: status {answer.status} {how}, not {expected}",
            "pages do not learn that a lease would help, or that theirs is none",
            f"look whether the daemon has --lease-keys-file; {advice.ROUTE}",
        )
    if not is_refusal(answer):
        return failure(
            f"{answer.request}: {answer.show(CHALLENGE)}, not Bearer",
            "clients cannot tell a missing lease from another refusal",
            advice.KEEP_HEADERS,
        )
    return None


def _carriers(session: Session) -> Result:
    lease, claims = shown_lease(session), session.claims
    carriers = [one for one in Carrier if one is not Carrier.QUERY or not _is_over(session)]
    answers = {one: read_with(session, by(one, lease)) for one in carriers}
    for carrier, answer in answers.items():
        if answer.status not in OPENED:
            return _unopened(answer, carrier, claims is not None and session.image in claims.images)
    first = answers[Carrier.BEARER]
    for answer in answers.values():
        if (answer.body, answer.get("ETag")) != (first.body, first.get("ETag")):
            return failure(
                f"{answer.request}: other bytes or another ETag than {first.request}",
                "a client that changes how it shows the lease starts again, or mixes two images",
                advice.KEEP_OUT,
            )
    return good(f"by {', '.join(one.value for one in carriers)} the same bytes, with the same tag")


def _is_over(session: Session) -> bool:
    """Return whether the lease may not travel in a URL any more."""
    until = session.claims.url_until if session.claims is not None else None
    return until is not None and session.wall() > until


def _unopened(answer: Response, carrier: Carrier, names_image: bool) -> Result:  # noqa: FBT001
    seen = f"{answer.request}: status {answer.status}, {answer.show(CHALLENGE)}"
    if carrier is not Carrier.BEARER:
        return failure(seen, f"readers that show their lease by {carrier.value} read nothing", advice.PASS_ON)
    hint = "" if names_image else "the lease does not name this image; "
    return failure(
        seen,
        "readers with this lease read nothing",
        f"{hint}aero-storage lease check --keys FILE says what is wrong; compare the clocks; {advice.PASS_ON}",
    )


def _wrong_image(session: Session) -> Result:
    opened(session)
    answer = session.fetch("GET", images_path(_ABSENT), FIRST)
    return _not_refused(answer, "for an image that the lease does not name", _FORBIDDEN) or good(
        "a lease for one image is a 403 for others, whether they exist or not"
    )


def _forged(session: Session) -> Result:
    lease = shown_lease(session)
    opened(session)
    for carrier in Carrier:
        answer = read_with(session, forged(by(carrier, lease)))
        if (fault := _not_refused(answer, "with a signature that is nobody's", _UNAUTHORIZED)) is not None:
            return fault
    return good("a lease with another signature is a 401")


def _hygiene(session: Session) -> Result:
    lease = shown_lease(session)
    answers = [session.fetch_with(by(one, lease), "GET", images_path(_ABSENT)) for one in Carrier]
    for answer in answers:
        if HIDDEN_LEASE.encode() in answer.body or any(HIDDEN_LEASE in value for _, value in answer.fields):
            return failure(
                f"{answer.request}: the answer repeats the lease",
                "it comes into logs, caches and pages' error reports",
                f"let the proxy make no pages of errors that show the URL or the headers; {advice.ROUTE}",
            )
    return good("no refusal repeats it")


CHECKS = (
    Check("private-images", "Private images are private", _open_images),
    Check("lease-carriers", "The lease opens the image", _carriers),
    Check("lease-required", "Nothing is read without a lease", _required),
    Check("lease-wrong-image", "The lease opens nothing else", _wrong_image),
    Check("lease-forged", "Signatures are checked", _forged),
    Check("lease-hygiene", "Refusals do not repeat the lease", _hygiene),
)
