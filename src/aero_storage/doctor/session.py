"""The shared state of the checks: the client, the examined image, and the answers received so far."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from aero_storage.doctor.http_client import MOST, HttpClient
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import SkippedError
from aero_storage.doctor.target import images_path
from aero_storage.errors import JsonError
from aero_storage.http.identifiers import is_image_id
from aero_storage.http.leases.carriers import Presented
from aero_storage.http.leases.claims import Claims
from aero_storage.strict_json import load

MOST_JSON = 4 * 1024 * 1024
"""Limit of the bytes read of a list of images or a chunk manifest."""

MOST_JSON_VALUES = 500_000
"""Objects, arrays, members and elements in them: a manifest of that size has some 130,000."""

_STRONG = re.compile(r'"[!#-~]{0,1024}"')
_TOTAL = re.compile(r"bytes [0-9]{1,20}-[0-9]{1,20}/([0-9]{1,20})")

Document = dict[str, Any]


@attrs.define(eq=False)
class Session:
    """One examination of one server. Answers and errors are cached."""

    client: HttpClient
    image_id: str | None = None
    """The id of the image to examine; None for one of the list."""
    given_origin: str | None = None
    """The `Origin` of the pages that read the images; None if not given."""
    wall: Callable[[], float] = time.time
    """Seconds since the epoch."""
    claims: Claims | None = None
    """The claims of the lease that the client presents; None without a lease."""
    _seen: dict[object, Response | Exception] = attrs.field(init=False, factory=dict)

    @property
    def origin(self) -> str:
        """The `Origin` of the requests."""
        return self.given_origin or "https://doctor.example"

    def fetch(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, *, most: int = MOST
    ) -> Response:
        """Return the answer to a request, which is sent only once. Raises UnansweredError."""
        return self.fetch_with(self.client.lease, method, path, headers, most=most)

    def fetch_with(
        self,
        lease: Presented | None,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        most: int = MOST,
    ) -> Response:
        """Return the answer to a request with this lease or none, sent only once. Raises UnansweredError."""
        key = (lease, method, path, tuple((headers or {}).items()), most)
        if key not in self._seen:
            try:
                self._seen[key] = self.client.ask_with(lease, method, path, headers, most=most)
            except Exception as error:
                self._seen[key] = error
                raise
        found = self._seen[key]
        if isinstance(found, Exception):
            raise found
        return found

    def forget(self) -> None:
        """Send requests again whose answers may be old by now."""
        self._seen.clear()

    def listing(self) -> Response:
        """Return the answer to the list of images."""
        return self.fetch("GET", images_path(), most=MOST_JSON)

    @property
    def image(self) -> str:
        """The id of the examined image. Raises SkippedError if there is none."""
        if self.image_id is None:
            self.image_id = self._choose()
        return self.image_id

    def _choose(self) -> str:
        """Return the largest public image, with which most checks can be made; with a lease one that it opens."""
        found = [one for one in entries(self.listing()) or [] if is_image_id(str(one.get("id", "")))]
        if self.claims is not None:
            return self._choose_leased(found, self.claims.images)
        if not found:
            raise SkippedError("no image to look at: see image-list, or name one with --image")
        best = max(found, key=lambda one: (one.get("public") is not False, whole_number(one.get("size_bytes")) or 0))
        return str(best["id"])

    @staticmethod
    def _choose_leased(found: list[Document], images: tuple[str, ...]) -> str:
        opened = [one for one in found if one["id"] in images]
        if not opened:
            return images[0]
        best = max(opened, key=lambda one: (one.get("public") is False, whole_number(one.get("size_bytes")) or 0))
        return str(best["id"])

    @property
    def path(self) -> str:
        """The path of the image's bytes."""
        return images_path(self.image)

    def metadata(self) -> Document:
        """Return the server's metadata of the image; empty if it cannot be read."""
        document = parsed(self.fetch("GET", images_path(self.image, "/meta")))
        return document if isinstance(document, dict) else {}

    def head(self) -> Response:
        """Return the answer to HEAD of the image."""
        return self.fetch("HEAD", self.path)

    def range(self, value: str, headers: Mapping[str, str] | None = None, *, most: int = MOST) -> Response:
        """Return the answer to a GET with this `Range`."""
        return self.fetch("GET", self.path, {"Range": value, **(headers or {})}, most=most)

    @property
    def size(self) -> int:
        """The size of the image in bytes. Raises SkippedError if it is unknown or 0."""
        size = self._size()
        if size is None:
            raise SkippedError("the size of the image is not to be had: see head and meta")
        if not size:
            raise SkippedError("the image is empty; name another one with --image")
        return size

    def _size(self) -> int | None:
        """Return the size that two of three sources agree on, else that of the metadata; HEAD alone may be wrong."""
        head = self.head()
        in_metadata = whole_number(self.metadata().get("size_bytes"))
        length = head.length() if head.status == 200 else None  # noqa: PLR2004
        if in_metadata == length is not None:
            return in_metadata
        match = _TOTAL.fullmatch(self.range("bytes=0-0").get("Content-Range") or "")
        known = [size for size in (in_metadata, length, int(match[1]) if match else None) if size is not None]
        return max(known, key=known.count, default=None)

    @property
    def tag(self) -> str:
        """The image's strong entity-tag. Raises SkippedError if there is none."""
        tag = self.head().get("ETag") or ""
        if not is_strong(tag):
            raise SkippedError("the image has no strong ETag: see etag")
        return tag


def is_strong(tag: str) -> bool:
    """Return whether `tag` is a strong entity-tag (RFC 9110 §8.8.3)."""
    return _STRONG.fullmatch(tag) is not None


def parsed(answer: Response) -> object:
    """Return the parsed JSON of a 200, or None."""
    if answer.status != 200 or not answer.is_complete:  # noqa: PLR2004
        return None
    try:
        return load(answer.body, MOST_JSON_VALUES)
    except JsonError:
        return None


def entries(answer: Response) -> list[Document] | None:
    """Return the objects of a list of images, or None if it is not one."""
    document = parsed(answer)
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        return None
    return document


def whole_number(value: object) -> int | None:
    """Return a JSON value that is a whole number, or None."""
    return value if type(value) is int and 0 <= value < 1 << 63 else None
