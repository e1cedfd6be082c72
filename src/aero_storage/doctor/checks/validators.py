"""Checks of validators, by which clients notice whether an image has changed."""

from __future__ import annotations

from aero_storage.doctor import advice
from aero_storage.doctor.check import Check, wrong_status
from aero_storage.doctor.checks.ranges import fault_of, from_to
from aero_storage.doctor.result import Result, failure, good, warning
from aero_storage.doctor.session import Session, is_strong

_OTHER = '"aero-storage-doctor"'
_OK, _PARTIAL, _NOT_MODIFIED, _FAILED = 200, 206, 304, 412
_SECTOR = 512


def _etag(session: Session) -> Result:
    tag = session.head().get("ETag")
    if tag is None or not is_strong(tag):
        return _no_strong_tag(session, tag)
    again = {
        "HEAD, asked again": session.client.ask("HEAD", session.path),
        "a range": session.range("bytes=0-0"),
        "GET": session.fetch("GET", session.path),
    }
    for name, answer in again.items():
        if answer.status in (_OK, _PARTIAL) and answer.get("ETag") != tag:
            return failure(
                f"HEAD has {session.head().show('ETag')}, {name} {answer.show('ETag')}",
                "clients take it that the image changes under them, and start again and again",
                f"let all servers behind the proxy have the same tags (etag in the catalog); {advice.KEEP_HEADERS}",
            )
    return good(f"{session.head().show('ETag')}, the same for HEAD, GET and a range")


def _no_strong_tag(session: Session, tag: str | None) -> Result:
    seen = session.head().show("ETag")
    if tag is not None and tag == session.metadata().get("etag"):
        return warning(
            f"{seen}, which is how the catalog has it",
            "no download can be resumed: If-Range wants a strong tag",
            "give the catalog's entry a strong etag, or none, and the daemon makes one",
        )
    return failure(
        seen,
        "no client can tell whether two ranges are of the same image; downloads cannot be resumed",
        f"a proxy that compresses weakens or drops the tag (gzip on): {advice.NO_TRANSFORM}; {advice.KEEP_HEADERS}",
    )


def _if_range_right(session: Session) -> Result:
    byte_range = from_to(0, min(_SECTOR, session.size) - 1)
    answer = session.range(byte_range.header, {"If-Range": session.tag})
    if answer.status == _OK:
        return failure(
            f"{answer.request}: status 200, though the tag is right",
            "clients that make sure of the image (If-Range) are sent all of it each time",
            advice.RANGE,
        )
    return fault_of(answer, byte_range, session.size) or good("206 with the right tag")


def _if_range_wrong(session: Session) -> Result:
    answer = session.range("bytes=0-0", {"If-Range": _OTHER})
    if answer.status == _PARTIAL:
        return failure(
            f"{answer.request}: status 206, though no image has that tag: If-Range was dropped on the way",
            "a client whose image was replaced mixes the bytes of two images, and never knows",
            advice.RANGE,
        )
    if answer.status in (_OK, _FAILED):
        return good(f"status {answer.status} with another tag")
    return wrong_status(answer, "200")


def _if_none_match(session: Session) -> Result:
    answer = session.fetch("GET", session.path, {"If-None-Match": session.tag})
    if answer.status != _NOT_MODIFIED:
        return failure(
            f"{answer.request}: status {answer.status}, not 304",
            "caches load again what they have: 20 GB for one answer",
            "let the proxy pass If-None-Match on; in nginx: proxy_set_header If-None-Match $http_if_none_match;",
        )
    if answer.get("ETag") != session.tag:
        return failure(
            f"the 304 has {answer.show('ETag')}, not {session.tag[:80]}",
            "caches cannot tell which of their answers is current",
            advice.KEEP_HEADERS,
        )
    other = session.fetch("HEAD", session.path, {"If-None-Match": _OTHER})
    if other.status == _NOT_MODIFIED:
        return failure(
            f"{other.request}: status 304, though no image has that tag",
            "a client whose image was replaced keeps the old one for ever",
            "let the proxy pass If-None-Match on, or compare it with the tag of what it has",
        )
    return good("304 with the right tag, and not with another")


CHECKS = (
    Check("etag", "The tag is strong and the same throughout", _etag),
    Check("if-range-right", "If-Range with the right tag: the range", _if_range_right),
    Check("if-range-wrong", "If-Range with another tag: the whole", _if_range_wrong),
    Check("if-none-match", "If-None-Match: nothing is sent twice", _if_none_match),
)
