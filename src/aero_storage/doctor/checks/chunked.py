"""Checks of chunked delivery: manifest, first chunk, and their cache lifetime."""

from __future__ import annotations

import hashlib
import re

from aero_storage.chunks.manifest import (
    CHUNKS_DIRECTORY,
    DEFAULT_CHUNK_SIZE,
    MIME_TYPE,
    ChunkManifest,
)
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.doctor import advice
from aero_storage.doctor.check import Check, wrong_status
from aero_storage.doctor.checks.caching import made_public
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, SkippedError, failure, good, warning
from aero_storage.doctor.session import MOST_JSON, Session
from aero_storage.doctor.target import images_path
from aero_storage.errors import ChunkFormatError

_MOST = DEFAULT_CHUNK_SIZE
"""Longest chunk that is read, in bytes."""

_OK, _NOT_FOUND, _TOO_LARGE = 200, 404, 413
_LONG = re.compile(r"max-age=[0-9]{7,12}")
_BROKEN = (
    "clients refuse the image, or read wrong sectors",
    "aero-storage verify ID on the server; if that is good, the proxy's cache is not: empty it",
)


def manifest_answer(session: Session) -> Response:
    """Return the answer to the request for the manifest. Raises SkippedError if the image has none."""
    answer = session.fetch("GET", images_path(session.image, "/chunked/manifest.json"), most=MOST_JSON)
    if answer.status == _NOT_FOUND:
        raise SkippedError(
            "the image has no chunks: aero-storage publish ID makes them, or --virtual-chunks "
            "(of images whose size is a multiple of 512)"
        )
    return answer


def _parsed(session: Session) -> ChunkManifest:
    """Return the manifest. Raises SkippedError."""
    answer = manifest_answer(session)
    if answer.status == _OK and answer.is_complete:
        try:
            return parse_chunk_manifest(answer.body)
        except ChunkFormatError:
            pass  # the check chunk-manifest reports it
    raise SkippedError("no manifest to go by: see chunk-manifest")


def _manifest(session: Session) -> Result:
    answer = manifest_answer(session)
    if answer.status != _OK:
        return wrong_status(answer, "200")
    if not answer.is_complete:
        raise SkippedError(f"the manifest is longer than {MOST_JSON} bytes; aero-storage verify reads all of it")
    try:
        manifest = parse_chunk_manifest(answer.body)
    except ChunkFormatError as error:
        return failure(f"{answer.request}: {answer.show('Content-Type')}; {error}", *_BROKEN)
    if manifest.image_id != session.image:
        return failure(f"the manifest is of the image {manifest.image_id}, not {session.image}", *_BROKEN)
    return _form(answer, "application/json") or good(
        f"{manifest.chunk_count} chunks of {manifest.chunk_size} bytes, version {manifest.version}"
    )


def _form(answer: Response, media_type: str) -> Result | None:
    """Return a failure if clients refuse the headers of a manifest or a chunk, else None."""
    if any(word != "identity" for word in answer.words("Content-Encoding")):
        return failure(
            f"{answer.request}: {answer.show('Content-Encoding')}", "clients refuse it", advice.NO_TRANSFORM
        )
    if "no-transform" not in answer.words("Cache-Control"):
        return failure(
            f"{answer.request}: {answer.show('Cache-Control')}, without no-transform",
            "clients refuse it",
            f"{advice.KEEP_HEADERS}; no expires either",
        )
    if not answer.is_media_type(media_type):
        return warning(
            f"{answer.request}: {answer.show('Content-Type')}, not {media_type}",
            "it may be changed or compressed on the way",
            advice.KEEP_HEADERS,
        )
    if answer.words("X-Content-Type-Options") != ("nosniff",):
        return warning(
            f"{answer.request}: {answer.show('X-Content-Type-Options')}, not nosniff once",
            "a browser may take it for a page",
            advice.KEEP_HEADERS,
        )
    return None


def _first(session: Session) -> tuple[Response, bool]:
    """Return the first chunk, and whether its URL is a versioned one."""
    manifest = _parsed(session)
    below = f"/{CHUNKS_DIRECTORY}/{manifest.chunk_name(0)}"
    encodings = {"Accept-Encoding": "gzip, br, zstd"}
    versioned = session.fetch(
        "GET", images_path(session.image, f"/chunked/{manifest.version}{below}"), encodings, most=_MOST
    )
    if versioned.status != _NOT_FOUND:
        return versioned, True
    return session.fetch("GET", images_path(session.image, f"/chunked{below}"), encodings, most=_MOST), False


def _chunk(session: Session) -> Result:
    manifest, (answer, _) = _parsed(session), _first(session)
    if answer.status == _TOO_LARGE:
        return failure(
            f"{answer.request}: status 413",
            "clients read no chunk at all",
            "--max-chunk-bytes at least as large as the chunks, or aero-storage publish ID --chunk-size 4MiB",
        )
    if answer.status != _OK:
        return wrong_status(answer, "200")
    return _form(answer, MIME_TYPE) or _content(session, manifest, answer)


def _content(session: Session, manifest: ChunkManifest, answer: Response) -> Result:
    """Return whether the bytes match the manifest's digest of the first chunk."""
    length, digest = manifest.chunk_length(0), manifest.digest(0)
    if answer.length() != length:
        return failure(f"{answer.request}: {answer.show('Content-Length')}, not {length}", *_BROKEN)
    if not answer.is_complete:
        raise SkippedError(f"a chunk has {length} bytes, and only {_MOST} are read: aero-storage verify reads it")
    if digest is None:
        return _against_range(session, answer, length)
    if hashlib.sha256(answer.body).digest() != digest:
        return failure(f"{answer.request}: other bytes than the manifest's digest is of", *_BROKEN)
    return good(f"{length} bytes, of the manifest's digest")


def _against_range(session: Session, answer: Response, length: int) -> Result:
    """Compare the chunk with a range of the image, as the manifest has no digests."""
    part = session.range(f"bytes=0-{min(length, 512) - 1}")
    if part.status != 206:  # noqa: PLR2004
        raise SkippedError("the manifest has no digests, and ranges do not work: see range-first")
    if not answer.body.startswith(part.body):
        return failure(f"{answer.request}: other bytes than {part.request}", *_BROKEN)
    return good(f"{length} bytes; the manifest has no digests, but the image begins in the same way")


def _caching(session: Session) -> Result:
    answer, is_versioned = _first(session)
    words, seen = set(answer.words("Cache-Control")), f"{answer.request}: {answer.show('Cache-Control')}"
    if answer.status != _OK:
        raise SkippedError("no chunk came: see chunk")
    if (public := made_public(session, answer)) is not None:
        return public
    if not words & {"public", "immutable"} and words & {"private", "no-store"}:
        return good("kept by nobody: the image is private, or the request has credentials")
    is_kept = any(map(_LONG.fullmatch, words)) and "immutable" in words
    if is_versioned and not is_kept:
        return warning(
            seen,
            "caches load again what never changes",
            f"the daemon says public, max-age=31536000, immutable: {advice.KEEP_HEADERS}; no expires either",
        )
    return good(seen)


CHECKS = (
    Check("chunk-manifest", "The chunk manifest can be used", _manifest),
    Check("chunk", "The first chunk is what the manifest says", _chunk),
    Check("chunk-caching", "Chunks are kept for ever", _caching),
)
