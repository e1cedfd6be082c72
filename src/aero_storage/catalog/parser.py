"""`manifest.json` → `Catalog` (http.md §3).

One violation makes the whole manifest invalid; the message names its place.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from typing import TypeVar

from aero_storage.catalog.content_digest import is_stamp
from aero_storage.catalog.model import BROWSER, Catalog, Image
from aero_storage.errors import CatalogError, JsonError
from aero_storage.http.conditional import is_entity_tag
from aero_storage.http.dates import parse_rfc3339
from aero_storage.http.digests import is_sha256
from aero_storage.http.identifiers import NAME_RULE, is_image_id, is_version
from aero_storage.strict_json import load, show

MAX_MANIFEST_BYTES = 64 * 1024 * 1024
"""A larger manifest is refused unread."""

MAX_VALUES = 1_000_000
"""Objects, arrays, members and elements in a manifest: an image with all its fields is fourteen."""

_MAX_FILE_BYTES = 512
_MAX_ETAG_LENGTH = 1024
_UNSIGNED_64 = 2**64

_T = TypeVar("_T")
_Entry = Mapping[str, object]


def parse_manifest(data: bytes) -> Catalog:
    """Parse and check a whole manifest.

    Raises CatalogError with one line that names the entry, the field and the reason.
    """
    entries = _entries(read_document(data))
    images = tuple(_parse_entry(index, entry) for index, entry in enumerate(entries))
    _require_unique_ids(images)
    return Catalog(images)


def read_document(data: bytes) -> object:
    """The JSON of a manifest, whatever it says; a byte order mark is let pass. Raises CatalogError."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise CatalogError(f"larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        return load(data.removeprefix(codecs.BOM_UTF8), MAX_VALUES)
    except JsonError as error:
        raise CatalogError(str(error)) from error


def _entries(document: object) -> list[object]:
    if isinstance(document, dict):
        if "images" not in document:
            raise CatalogError('images: missing; expected {"images": […]} or a bare array')
        document = document["images"]
    if not isinstance(document, list):
        raise CatalogError(f"images: must be an array, not {show(document)}")
    if not document:
        raise CatalogError("images: must list at least one image")
    return document


def _require_unique_ids(images: tuple[Image, ...]) -> None:
    seen: dict[str, int] = {}
    for index, image in enumerate(images):
        first = seen.setdefault(image.id, index)
        if first != index:
            raise CatalogError(f"images[{index}] ({image.id}): id: already used by images[{first}]")


def _parse_entry(index: int, entry: object) -> Image:
    if not isinstance(entry, dict):
        raise CatalogError(f"images[{index}]: must be an object, not {show(entry)}")
    fields = _Fields(index, entry)
    return Image(
        id=fields.required("id", _image_id),
        file=fields.required("file", _file),
        name=fields.required("name", _text),
        public=fields.required("public", _boolean) if "public" in entry else True,
        description=fields.optional("description", _text),
        recommended_chunk_size_bytes=fields.optional("recommended_chunk_size_bytes", _positive),
        chunked_version=fields.optional("chunked_version", _version),
        virtual_chunks=fields.optional("virtual_chunks", _boolean),
        etag=fields.optional("etag", _etag),
        last_modified=fields.optional("last_modified", _last_modified),
        sha256=fields.optional("sha256", _sha256),
        sha256_of=fields.optional("sha256_of", _stamp),
        private_cache=fields.optional("private_cache", _private_cache),
    )


class _Fields:
    """The fields of one entry, checked as they are taken; every error message begins with the entry's label."""

    def __init__(self, index: int, entry: _Entry) -> None:
        self._index = index
        self._entry = entry

    @property
    def _label(self) -> str:
        given = self._entry.get("id")
        named = f" ({given})" if isinstance(given, str) and is_image_id(given) else ""
        return f"images[{self._index}]{named}"

    def required(self, key: str, check: Callable[[object], _T]) -> _T:
        if key not in self._entry:
            raise CatalogError(f"{self._label}: {key}: missing")
        return self._checked(key, check)

    def optional(self, key: str, check: Callable[[object], _T]) -> _T | None:
        return None if self._entry.get(key) is None else self._checked(key, check)

    def _checked(self, key: str, check: Callable[[object], _T]) -> _T:
        value = self._entry[key]
        try:
            return check(value)
        except ValueError as error:
            raise CatalogError(f"{self._label}: {key}: {error}, not {show(value)}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004 - one type of error for all checks
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004
    return value


def _positive(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < _UNSIGNED_64:
        raise ValueError("must be a whole number above 0 and below 2^64")
    return value


def _image_id(value: object) -> str:
    text = _text(value)
    if not is_image_id(text):
        raise ValueError(NAME_RULE)
    return text


def _version(value: object) -> str:
    text = _text(value).strip()
    if not is_version(text):
        raise ValueError(f"{NAME_RULE} or 'chunks'")
    return text


def _file(value: object) -> str:
    text = _text(value)
    if not 1 <= len(text.encode()) <= _MAX_FILE_BYTES:
        raise ValueError(f"must be 1 to {_MAX_FILE_BYTES} bytes long")
    if "\0" in text:
        raise ValueError("must not contain NUL")
    if text.startswith("/") or (".." in text and ".." in text.split("/")):
        raise ValueError("must be a path relative to the images root without '..'")
    return text


def _etag(value: object) -> str:
    text = _text(value).strip()
    if len(text) > _MAX_ETAG_LENGTH or not is_entity_tag(text):
        raise ValueError(
            f'must be a quoted entity-tag, "…" or W/"…", of visible ASCII and at most {_MAX_ETAG_LENGTH} characters'
        )
    return text


def _sha256(value: object) -> str:
    text = _text(value)
    if not is_sha256(text):
        raise ValueError("must be a SHA-256 digest of 64 hex digits")
    return text.lower()


def _stamp(value: object) -> str:
    text = _text(value)
    if not is_stamp(text):
        raise ValueError("must be '<size>-<mtime in nanoseconds>' of the file that sha256 was computed from")
    return text


def _private_cache(value: object) -> str:
    if value != BROWSER:
        raise ValueError(f'must be "{BROWSER}" or absent')
    return BROWSER


def _last_modified(value: object) -> int:
    nanoseconds = parse_rfc3339(_text(value).strip())
    if nanoseconds is None:
        raise ValueError("must be an RFC 3339 time such as 2026-01-10T00:00:00Z")
    if nanoseconds < 0:
        raise ValueError("must not be before the Unix epoch")
    return nanoseconds
