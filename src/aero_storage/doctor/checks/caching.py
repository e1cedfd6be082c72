"""Checks of caching and of transformations on the way."""

from __future__ import annotations

import re
from contextlib import suppress

from aero_storage.doctor import advice
from aero_storage.doctor.check import Check, wrong_status
from aero_storage.doctor.lease import is_refusal
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, SkippedError, failure, good, warning
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import images_path

_ENCODINGS = "gzip, br, zstd"
_CREDENTIALS = {"authorization", "cookie"}
_ABSENT = "aero-storage-doctor-looks-for-what-is-not-there"
_MAX_AGE = re.compile(r"(?:max-age|s-maxage)=\"?([0-9]{1,12})\"?")
_USABLE = (200, 206)
_COMPRESSED_MEANS = "clients refuse it, or take compressed bytes for sectors; ranges of it mean nothing"


def _compression(session: Session) -> Result:
    asks = {"Accept-Encoding": _ENCODINGS}
    answers = (
        session.fetch("GET", session.path, {**asks, "Range": "bytes=0-511"}),
        session.fetch("HEAD", session.path, asks),
        session.fetch("GET", session.path, asks),
    )
    usable = [answer for answer in answers if answer.status in _USABLE]
    if not usable:
        raise SkippedError("nothing came to look at: see head, get and range-first")
    faults = (_encoded(answer) or _retagged(session, answer) for answer in usable)
    found = next((fault for fault in faults if fault), None)
    return (
        found or _varied(usable) or good(f"with Accept-Encoding: {_ENCODINGS} the same bytes come, with the same tag")
    )


def _encoded(answer: Response) -> Result | None:
    if all(word == "identity" for word in answer.words("Content-Encoding")):
        return None
    return failure(f"{answer.request}: {answer.show('Content-Encoding')}", _COMPRESSED_MEANS, advice.NO_TRANSFORM)


def _retagged(session: Session, answer: Response) -> Result | None:
    plain = session.head()
    if plain.status not in _USABLE or answer.get("ETag") == plain.get("ETag"):
        return None
    return failure(
        f"{answer.request}: {answer.show('ETag')}, without encodings {plain.show('ETag')}",
        "something compresses, or would; the tag no longer fits If-Range, so that nothing can be resumed",
        f"{advice.NO_TRANSFORM}; in Apache: SetEnv no-gzip 1",
    )


def _varied(answers: list[Response]) -> Result | None:
    for answer in answers:
        if {"accept-encoding", "*"} & set(answer.words("Vary")):
            return warning(
                f"{answer.request}: {answer.show('Vary')}",
                "caches keep a copy for each kind of client, and loads of 20 GB come again",
                advice.NO_TRANSFORM,
            )
    return None


def _cache_control(session: Session) -> Result:
    answer = session.head()
    if answer.status not in _USABLE:
        raise SkippedError("HEAD has no 200: see head")
    words, seen = answer.words("Cache-Control"), answer.show("Cache-Control")
    if "no-transform" not in words:
        return failure(
            f"{seen}, without no-transform",
            "proxies on the way may compress it, and clients refuse it for that",
            f"{advice.KEEP_HEADERS}; no expires either",
        )
    if "public" not in words:
        return _private(session, words, seen)
    return made_public(session, answer) or _public(words, seen)


def made_public(session: Session, answer: Response) -> Result | None:
    """Return the failure if an answer with bytes of a private image may be stored by every cache."""
    if "public" not in answer.words("Cache-Control") or session.metadata().get("public") is not False:
        return None
    return failure(
        f"{answer.request}: {answer.show('Cache-Control')}, but the image is private",
        "every cache on the way stores a private image",
        f"{advice.KEEP_HEADERS}; no expires either, and empty the caches",
    )


def _public(words: tuple[str, ...], seen: str) -> Result:
    if not any(_MAX_AGE.fullmatch(word) for word in words):
        return warning(f"{seen}, without max-age", "caches guess for how long it is good", advice.KEEP_HEADERS)
    return good(seen)


def _private(session: Session, words: tuple[str, ...], seen: str) -> Result:
    if not {"private", "no-store"} & set(words):
        return warning(f"{seen}, neither public nor private", "caches guess", advice.KEEP_HEADERS)
    if session.metadata().get("public") is False or _has_credentials(session):
        return good(f"{seen}, as the image is private or the request has credentials")
    return warning(
        f"{seen}, though the image is public",
        "no cache and no CDN keeps anything, and all is read from here each time",
        "let the proxy add no Cookie or Authorization to requests, and no Cache-Control to answers",
    )


def _has_credentials(session: Session) -> bool:
    client = session.client
    return client.lease is not None or bool(_CREDENTIALS & {name.lower() for name in client.extra})


def _credentials(session: Session) -> Result:
    if session.head().status not in _USABLE:
        raise SkippedError("HEAD has no 200: see head")
    answer = session.fetch("HEAD", session.path, {"Cookie": "aero-storage-doctor=1"})
    words = answer.words("Cache-Control")
    if answer.status in _USABLE and "public" in words:
        return warning(
            f"{answer.request}: {answer.show('Cache-Control')}",
            "caches may store an answer for one client's credentials and give it to all others",
            "let the proxy pass Cookie and Authorization on, and not answer such requests from its cache "
            "(in nginx: proxy_cache_bypass $http_cookie $http_authorization;)",
        )
    return good(f"with a Cookie: {answer.show('Cache-Control')}")


def _errors(session: Session) -> Result:
    absent = session.fetch("GET", images_path(_ABSENT))
    if absent.status < 400:  # noqa: PLR2004
        return failure(
            f"{absent.request}: status {absent.status}, {absent.show('Content-Type')}, not 404 for a missing image",
            "clients take the answer for an image",
            advice.ROUTE,
        )
    if _may_be_kept(absent):
        return failure(
            f"{absent.request}: status {absent.status} with {absent.show('Cache-Control')}, not no-store",
            "caches keep the error, and an image that is there again stays missing",
            f"{advice.UNCACHED_ERRORS}; {advice.KEEP_HEADERS}",
        )
    if absent.status != 404 and not is_refusal(absent):  # noqa: PLR2004
        return wrong_status(absent, "404")
    return _unsatisfiable(session) or good(f"{absent.status} and 416 come with no-store")


def _unsatisfiable(session: Session) -> Result | None:
    with suppress(SkippedError):  # the 404 is enough to see how errors are kept
        answer = session.range(f"bytes={session.size}-")
        if answer.status >= 400 and _may_be_kept(answer):  # noqa: PLR2004
            return warning(
                f"{answer.request}: status {answer.status} with {answer.show('Cache-Control')}, not no-store",
                "a cache may go on refusing the range after the image has grown",
                f"{advice.UNCACHED_ERRORS}; {advice.SLICES}",
            )
    return None


def _may_be_kept(answer: Response) -> bool:
    return not {"no-store", "no-cache"} & set(answer.words("Cache-Control"))


CHECKS = (
    Check("compression", "Nothing is compressed on the way", _compression),
    Check("cache-control", "Caches are told the right thing", _cache_control),
    Check("cache-credentials", "Answers to credentials are not cached", _credentials),
    Check("errors-uncached", "Errors are errors, and are not kept", _errors),
)
