"""Checks of versions: URLs under which bytes never change, and which caches keep for good."""

from __future__ import annotations

import re

from aero_storage.chunks.verify.remote import brief
from aero_storage.doctor import advice
from aero_storage.doctor.check import Check, wrong_status
from aero_storage.doctor.checks.caching import made_public
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, SkippedError, failure, good, warning
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import images_path
from aero_storage.http.digests import digest_etag
from aero_storage.http.identifiers import is_version
from aero_storage.strict_json import show

_OK, _PARTIAL, _NOT_FOUND = 200, 206, 404
_OTHER = "aero-storage-doctor"
_BY_DIGEST = "sha256-"
_LONG = re.compile(r"max-age=[0-9]{7,12}")
_FIRST = {"Range": "bytes=0-511"}
_AS_IT_IS = "send all below /v1/images/ to the daemon with its path as it is, without rewrite"
_STALE_MEANS = "clients that go by the metadata get nothing, or keep bytes of another image for good"
_STALE_MEND = (
    "empty the proxy's cache; let it keep no JSON (the daemon says no-cache); let all servers behind it have the "
    f"same images and catalog; {_AS_IT_IS}"
)


def _version(session: Session) -> str:
    """Return the version that the metadata tell. Raises SkippedError if there is none."""
    metadata = session.metadata()
    if not metadata:
        raise SkippedError("no metadata to go by: see meta")
    version = metadata.get("version")
    if version is None:
        raise SkippedError("the image has no version: its tag is weak and its digest unknown, or the daemon is older")
    return version if isinstance(version, str) else show(version)


def _below(session: Session, version: str) -> str:
    return images_path(session.image, f"/versions/{version}")


def _named(session: Session) -> Response:
    """Return the answer to HEAD of the current version. Raises SkippedError if there is no version."""
    version = _version(session)
    if not is_version(version):
        raise SkippedError("no version that could stand in a URL: see image-version")
    return session.fetch("HEAD", _below(session, version))


def _same(session: Session) -> Result:
    version = _version(session)
    if not is_version(version):
        return failure(
            f"version {brief(version)}, which cannot stand in a URL", "clients cannot ask for it", _AS_IT_IS
        )
    if session.head().status != _OK:
        raise SkippedError("HEAD has no 200: see head")
    answer = _named(session)
    if answer.status == _NOT_FOUND and (replaced := _replaced(session, version)) is not None:
        return replaced
    if answer.status != _OK:
        return failure(f"{answer.request}: status {answer.status}, not 200", _STALE_MEANS, _STALE_MEND)
    return (
        _other_digest(session, version)
        or _other_tag(session, answer)
        or _other_bytes(session, version)
        or good(f"{version}: {answer.show('ETag')} and bytes as without it")
    )


def _replaced(session: Session, version: str) -> Result | None:
    """Return the result if the image was replaced just now, so that the metadata have another version."""
    session.forget()
    return good(f"replaced a moment ago: {version} is a 404") if _version(session) != version else None


def _other_digest(session: Session, version: str) -> Result | None:
    """Compare a version by digest with the digest that metadata and tag have."""
    if not version.startswith(_BY_DIGEST):
        return None
    sha256 = session.metadata().get("sha256")
    tag = session.head().get("ETag") or ""
    is_other_tag = tag.startswith(f'"{_BY_DIGEST}') and tag != digest_etag(version.removeprefix(_BY_DIGEST))
    if sha256 != version.removeprefix(_BY_DIGEST) or is_other_tag:
        return failure(
            f"version {version}, but sha256 {show(sha256)} and {session.head().show('ETag')}",
            _STALE_MEANS,
            _STALE_MEND,
        )
    return None


def _other_tag(session: Session, answer: Response) -> Result | None:
    plain = session.head()
    unlike = [name for name in ("ETag", "Content-Length") if answer.get(name) != plain.get(name)]
    if not unlike:
        return None
    seen = ", ".join(f"{answer.show(name)}, without a version {plain.show(name)}" for name in unlike)
    return failure(f"{answer.request}: {seen}", _STALE_MEANS, _STALE_MEND)


def _other_bytes(session: Session, version: str) -> Result | None:
    """Compare the first bytes with those of the image's own URL; whether ranges work is for other checks."""
    plain = session.fetch("GET", session.path, _FIRST)
    named = session.fetch("GET", _below(session, version), _FIRST)
    is_usable = plain.status == named.status == _PARTIAL and plain.is_complete and named.is_complete
    if is_usable and plain.body != named.body:
        return failure(f"{named.request}: other bytes than {plain.request}", _STALE_MEANS, _STALE_MEND)
    return None


def _caching(session: Session) -> Result:
    answer = _named(session)
    if answer.status != _OK:
        raise SkippedError("no version to look at: see image-version")
    words, seen = set(answer.words("Cache-Control")), f"{answer.request}: {answer.show('Cache-Control')}"
    if (public := made_public(session, answer)) is not None:
        return public
    if not words & {"public", "immutable"} and words & {"private", "no-store"}:
        return good("kept by nobody: the image is private, or the request has credentials")
    if "immutable" in words and any(map(_LONG.fullmatch, words)):
        return good(seen)
    return warning(
        seen,
        "browsers and caches load again what never changes",
        f"the daemon says public, max-age=31536000, immutable: {advice.KEEP_HEADERS}; no expires either",
    )


def _other(session: Session) -> Result:
    _version(session)
    answer = session.fetch("GET", _below(session, _OTHER), _FIRST)
    if answer.status in (_OK, _PARTIAL):
        return failure(
            f"{answer.request}: status {answer.status} for a version that no image has",
            "clients take the bytes for those of another version, and keep them for good",
            _AS_IT_IS,
        )
    if not {"no-store", "no-cache"} & set(answer.words("Cache-Control")):
        return failure(
            f"{answer.request}: status {answer.status} with {answer.show('Cache-Control')}, not no-store",
            "caches keep the error, and a version that is there again stays missing",
            f"{advice.UNCACHED_ERRORS}; {advice.KEEP_HEADERS}",
        )
    return good("404, no-store") if answer.status == _NOT_FOUND else wrong_status(answer, "404")


CHECKS = (
    Check("image-version", "The version names the image's bytes", _same),
    Check("image-version-caching", "Caches may keep a version for good", _caching),
    Check("image-version-other", "Other versions are missing", _other),
)
