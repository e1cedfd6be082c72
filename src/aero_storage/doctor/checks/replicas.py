"""Checks that replicas behind one address agree: the same requests on new connections, where others may answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice

from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.chunks.verify.remote import brief
from aero_storage.doctor.check import Check
from aero_storage.doctor.checks.chunked import manifest_answer
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, SkippedError, failure, good
from aero_storage.doctor.session import MOST_JSON, Session, entries, is_strong
from aero_storage.doctor.target import images_path
from aero_storage.errors import ChunkFormatError
from aero_storage.http.identifiers import is_image_id

ASKED = 8
"""Requests of each kind. Of three replicas in turn each answers; of two at random both do in 127 of 128 cases."""

PAUSE_SECONDS = 6.0
"""Replicas that differ are asked again after it: a change takes up to --origin-refresh-secs, 5 by default."""

_OK, _NOT_FOUND = 200, 404
_REMEDY = (
    "serve one bucket and prefix from all replicas, with the same settings; where they have copies of a directory, "
    "let the copies keep the mtime, or give the catalog's entries an etag; the log of a replica that stays behind "
    "says that its catalog is invalid, or that its object store failed"
)


def _tags(session: Session) -> Result:
    if session.head().status != _OK:
        raise SkippedError("HEAD has no 200: see head")
    if (seen := _twice(session, _differing_heads)) is not None:
        return _disagreement(seen)
    if (seen := _twice(session, _unlike_the_list)) is not None:
        return _disagreement(seen)
    return good(f"the same on {ASKED} new connections, and the same as in the list of images")


def _disagreement(seen: str) -> Result:
    return failure(
        seen,
        "clients that reach one replica after the other take it that the image changes under them, and start again "
        "and again",
        _REMEDY,
    )


def _twice(session: Session, look: Callable[[Session], str | None]) -> str | None:
    """Return what differs, if it does so again after a pause: a change takes a moment to reach all replicas."""
    if look(session) is None:
        return None
    session.client.pause(PAUSE_SECONDS)
    session.forget()
    return look(session)


def _asked_anew(session: Session, method: str, path: str, *, most: int = 0) -> Response:
    """Return the answer to a request on a connection of its own."""
    session.client.close()
    return session.client.ask(method, path, most=most)


def _differing_heads(session: Session) -> str | None:
    answers = [_asked_anew(session, "HEAD", session.path) for _ in range(ASKED)]
    return _differences(f"HEAD {session.path}", [_validators(answer) for answer in answers])


def _validators(answer: Response) -> str:
    if answer.status != _OK:
        return f"status {answer.status}"
    return ", ".join(answer.show(name) for name in ("ETag", "Last-Modified", "Content-Length"))


def _differences(request: str, seen: list[str]) -> str | None:
    """Return the different answers with their numbers, or None if all are the same."""
    counted = Counter(seen)
    if len(counted) == 1:
        return None
    told = "; ".join(f"{count} times {text}" for text, count in counted.most_common())
    return f"{request} on {len(seen)} new connections: {told}"


def _unlike_the_list(session: Session) -> str | None:
    """Compare the list with HEAD of some images: a balancer that goes by the image asks a replica for each."""
    for image_id, tag in islice(_listed_tags(session).items(), ASKED):
        answer = _asked_anew(session, "HEAD", images_path(image_id))
        if _contradicts(answer, tag):
            return f"the list has ETag: {brief(tag)} for {image_id}, {answer.request}: {_validators(answer)}"
    return None


def _listed_tags(session: Session) -> dict[str, str]:
    named = {str(one.get("id", "")): str(one.get("etag", "")) for one in entries(session.listing()) or []}
    return {image_id: tag for image_id, tag in named.items() if is_image_id(image_id) and is_strong(tag)}


def _contradicts(answer: Response, listed: str) -> bool:
    """Return whether an answer has another strong tag; a weak one, or none, is reported by the check etag."""
    tag = answer.get("ETag") or ""
    return answer.status == _NOT_FOUND or (answer.status == _OK and is_strong(tag) and tag != listed)


def _versions(session: Session) -> Result:
    manifest_answer(session)  # skipped where there is none
    if (seen := _twice(session, _differing_manifests)) is not None:
        return failure(
            seen,
            "a client has the manifest of one version, and chunks of another or none",
            f"{_REMEDY}; virtual chunks need the same --virtual-chunk-bytes everywhere",
        )
    return good(f"the same on {ASKED} new connections")


def _differing_manifests(session: Session) -> str | None:
    """Return how manifests differ; they are read only if their tags do."""
    path = images_path(session.image, "/chunked/manifest.json")
    heads = [_asked_anew(session, "HEAD", path) for _ in range(ASKED)]
    if len({(answer.status, answer.get("ETag")) for answer in heads}) == 1:
        return None
    answers = [_asked_anew(session, "GET", path, most=MOST_JSON) for _ in range(ASKED)]
    return _differences(f"GET {path}", [_version(answer) for answer in answers])


def _version(answer: Response) -> str:
    if answer.status != _OK:
        return f"status {answer.status}"
    try:
        version = parse_chunk_manifest(answer.body).version
    except ChunkFormatError:
        raise SkippedError("no manifest to go by: see chunk-manifest") from None
    return f"version {version}, {answer.show('ETag')}"


CHECKS = (
    Check("replica-tags", "All replicas have the same tags", _tags),
    Check("replica-versions", "All replicas have the same chunks", _versions),
)
