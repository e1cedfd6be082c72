"""Checks of the list of images, the metadata, and HEAD and GET of the whole image: a client's first requests."""

from __future__ import annotations

from aero_storage.chunks.verify.remote import brief
from aero_storage.doctor import advice
from aero_storage.doctor.check import Check, wrong_status
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, SkippedError, failure, good, warning
from aero_storage.doctor.session import MOST_JSON, Session, entries, is_strong, parsed, whole_number
from aero_storage.doctor.target import images_path
from aero_storage.http.identifiers import is_image_id
from aero_storage.strict_json import show

_OCTETS = "application/octet-stream"
_OK, _NOT_FOUND = 200, 404
_NOT_SATISFIABLE = 416
# Headers that must be equal in the answers to HEAD and GET (RFC 9110 §9.3.2).
_ALIKE = ("Content-Length", "ETag", "Last-Modified", "Content-Type", "Cache-Control", "Accept-Ranges")


def _image_list(session: Session) -> Result:
    answer = session.listing()
    if answer.status != _OK:
        return wrong_status(answer, "200")
    if not answer.is_complete:
        raise SkippedError(f"the list is longer than {MOST_JSON} bytes, of which no more are read")
    found = entries(answer)
    if found is None:
        return failure(
            f"{answer.request}: {answer.show('Content-Type')}, and {_opening(answer)}, which is no list of images",
            "pages that offer images find none; something else than the daemon answers",
            advice.ROUTE,
        )
    return _entries(found) or (
        good(f"{len(found)} image{'s' if len(found) > 1 else ''}")
        if answer.is_media_type("application/json")
        else warning(answer.show("Content-Type"), "it should be application/json", advice.KEEP_HEADERS)
    )


def _entries(found: list[dict[str, object]]) -> Result | None:
    if not found:
        return failure(
            "the list is empty",
            "there is nothing to read",
            "aero-storage import FILE --id ID, and look whether --images-root is the directory that you mean; "
            "private images are in it for those with a lease alone (--lease-file FILE)",
        )
    bad = [one for one in found if not _is_entry(one)]
    if bad:
        return failure(
            f"{len(bad)} of {len(found)} images have no usable id, size_bytes or etag",
            "clients cannot ask for them",
            advice.ROUTE,
        )
    return None


def _is_entry(one: dict[str, object]) -> bool:
    is_named = isinstance(one.get("id"), str) and is_image_id(str(one["id"]))
    return is_named and whole_number(one.get("size_bytes")) is not None and isinstance(one.get("etag"), str)


def _opening(answer: Response) -> str:
    return f"a body that begins with {brief(answer.body[:20].decode('latin-1'))!r}" if answer.body else "no body"


def _no_image(answer: Response) -> Result:
    """Return the result for a missing image."""
    if answer.status == _NOT_FOUND:
        return failure(
            f"{answer.request}: status 404",
            "clients are told that there is no such image",
            f"look whether aero-storage list shows it, with its file; if so, {advice.ROUTE}",
        )
    return wrong_status(answer, "200")


def _meta(session: Session) -> Result:
    answer = session.fetch("GET", images_path(session.image, "/meta"))
    if answer.status != _OK:
        return _no_image(answer)
    document = parsed(answer)
    if not isinstance(document, dict):
        return failure(
            f"{answer.request}: {answer.show('Content-Type')}, and {_opening(answer)}, which is no JSON object",
            "clients learn neither size nor tag",
            advice.ROUTE,
        )
    head = session.head()
    size, tag = whole_number(document.get("size_bytes")), document.get("etag")
    shown = brief(tag) if isinstance(tag, str) else show(tag)
    if head.status == _OK and (head.length() not in (None, size) or _is_other_tag(head, tag)):
        return failure(
            f"size_bytes {size} and etag {shown}, but HEAD says {head.show('Content-Length')}, {head.show('ETag')}",
            "a client lays its ranges on an image that is not there",
            "empty the proxy's cache; let it keep no JSON (the daemon says no-cache), and pass the headers on",
        )
    return good(f"{size} bytes, etag {shown}, as HEAD says")


def _is_other_tag(head: Response, tag: object) -> bool:
    """Return whether the entity-tags differ; a weakened or missing one is reported by the check etag."""
    return is_strong(head.get("ETag") or "") and tag != head.get("ETag")


def _head(session: Session) -> Result:
    answer = session.head()
    if answer.status != _OK:
        return _no_image(answer)
    if answer.length() is None:
        return failure(
            f"{answer.request}: {answer.show('Content-Length')}",
            "clients ask by HEAD how large the image is, and give up",
            f"let the proxy pass HEAD on as it is (in nginx: proxy_cache_convert_head off;); {advice.NO_TRANSFORM}",
        )
    if "bytes" not in answer.words("Accept-Ranges"):
        return failure(
            f"{answer.request}: {answer.show('Accept-Ranges')}",
            "clients take it that there are no ranges, and read 20 GB or nothing",
            f"{advice.KEEP_HEADERS}; {advice.RANGE}",
        )
    return good(f"{answer.length()} bytes, with ranges")


def _get(session: Session) -> Result:
    head, answer = session.head(), session.fetch("GET", session.path)
    if answer.status == _NOT_SATISFIABLE:
        return good("a GET without Range is refused (416), as with --require-range")
    if answer.status != _OK:
        return _no_image(answer)
    if answer.length() is None:
        return failure(
            f"{answer.request}: {answer.show('Content-Length')}, {answer.show('Transfer-Encoding')}",
            "a download that breaks off looks complete, and nobody can resume it",
            advice.NO_TRANSFORM,
        )
    unlike = [name for name in _ALIKE if head.get(name) != answer.get(name)]
    if unlike:
        seen = "; ".join(f"HEAD has {head.show(name)}, GET {answer.show(name)}" for name in unlike)
        return failure(
            seen,
            "clients take size and tag from HEAD, and then read something else",
            f"let the proxy pass HEAD on as HEAD (in nginx: proxy_cache_convert_head off;); {advice.KEEP_HEADERS}",
        )
    return good(f"{', '.join(_ALIKE[:-1])} and {_ALIKE[-1]} are the same")


def _content_type(session: Session) -> Result:
    answer = session.head()
    if answer.status != _OK:
        raise SkippedError("HEAD has no 200: see head")
    if not answer.is_media_type(_OCTETS):
        return failure(
            f"{answer.request}: {answer.show('Content-Type')}, not {_OCTETS}",
            "other types may be shown, changed or compressed on the way, or belong to another file",
            f"{advice.KEEP_HEADERS}; {advice.ROUTE}",
        )
    if answer.words("X-Content-Type-Options") != ("nosniff",):
        return warning(
            answer.show("X-Content-Type-Options"),
            "a browser may take an image for a page, and run what is in it",
            f"it has to be nosniff, once: {advice.KEEP_HEADERS}",
        )
    return good(f"{_OCTETS}, nosniff")


CHECKS = (
    Check("image-list", "The list names images", _image_list),
    Check("meta", "The metadata of the image agree with HEAD", _meta),
    Check("head", "HEAD tells the size", _head),
    Check("get", "GET and HEAD agree", _get),
    Check("content-type", "The bytes are called bytes", _content_type),
)
