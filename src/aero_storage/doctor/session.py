"""What checks share: the client, the image that is looked at, and what was asked already."""

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
from aero_storage.strict_json import load

MOST_JSON = 4 * 1024 * 1024
"""Bytes of a list of images or a chunk manifest that are read."""

MOST_JSON_VALUES = 500_000
"""Objects, arrays, members and elements in them: a manifest of that size has some 130,000."""

_STRONG = re.compile(r'"[!#-~]{0,1024}"')
_TOTAL = re.compile(r"bytes [0-9]{1,20}-[0-9]{1,20}/([0-9]{1,20})")

Document = dict[str, Any]


@attrs.define(eq=False)
class Session:
    """One examination of one server. Answers that were looked at once are remembered, errors too."""

    client: HttpClient
    wanted: str | None = None
    """The id of the image to look at; None for one of the list."""
    given_origin: str | None = None
    """The `Origin` of the pages that are to read; None if nobody said."""
    wall: Callable[[], float] = time.time
    """Seconds since the epoch."""
    _seen: dict[object, Response | Exception] = attrs.field(init=False, factory=dict)

    @property
    def origin(self) -> str:
        """The `Origin` to ask with."""
        return self.given_origin or "https://doctor.example"

    def look(self, method: str, path: str, headers: Mapping[str, str] | None = None, *, most: int = MOST) -> Response:
        """Ask once, and remember the answer. Raises UnansweredError."""
        key = (method, path, tuple((headers or {}).items()), most)
        if key not in self._seen:
            try:
                self._seen[key] = self.client.ask(method, path, headers, most=most)
            except Exception as error:
                self._seen[key] = error
                raise
        found = self._seen[key]
        if isinstance(found, Exception):
            raise found
        return found

    def listing(self) -> Response:
        """The answer to the list of images."""
        return self.look("GET", images_path(), most=MOST_JSON)

    @property
    def image(self) -> str:
        """The id of the image that is looked at. Raises SkippedError if there is none."""
        if self.wanted is None:
            self.wanted = self._choose()
        return self.wanted

    def _choose(self) -> str:
        """The largest public image: it shows the most."""
        found = [one for one in entries(self.listing()) or [] if is_image_id(str(one.get("id", "")))]
        if not found:
            raise SkippedError("no image to look at: see image-list, or name one with --image")
        best = max(found, key=lambda one: (one.get("public") is not False, whole_number(one.get("size_bytes")) or 0))
        return str(best["id"])

    @property
    def path(self) -> str:
        """The path of the image's bytes."""
        return images_path(self.image)

    def metadata(self) -> Document:
        """What the server's JSON says of the image; empty if that is not to be had."""
        document = parsed(self.look("GET", images_path(self.image, "/meta")))
        return document if isinstance(document, dict) else {}

    def head(self) -> Response:
        """The answer to HEAD of the image."""
        return self.look("HEAD", self.path)

    def range(self, value: str, headers: Mapping[str, str] | None = None, *, most: int = MOST) -> Response:
        """The answer to a GET with that `Range`."""
        return self.look("GET", self.path, {"Range": value, **(headers or {})}, most=most)

    @property
    def size(self) -> int:
        """Bytes of the image. Raises SkippedError if it is unknown or 0."""
        size = self._size()
        if size is None:
            raise SkippedError("the size of the image is not to be had: see head and meta")
        if not size:
            raise SkippedError("the image is empty; name another one with --image")
        return size

    def _size(self) -> int | None:
        """What two of three say: a lying HEAD would make all ranges look wrong. Else the daemon's own metadata."""
        head = self.head()
        told = whole_number(self.metadata().get("size_bytes"))
        length = head.length() if head.status == 200 else None  # noqa: PLR2004
        if told == length is not None:
            return told
        match = _TOTAL.fullmatch(self.range("bytes=0-0").get("Content-Range") or "")
        known = [size for size in (told, length, int(match[1]) if match else None) if size is not None]
        return max(known, key=known.count, default=None)

    @property
    def tag(self) -> str:
        """The image's strong entity-tag. Raises SkippedError if there is none."""
        tag = self.head().get("ETag") or ""
        if not is_strong(tag):
            raise SkippedError("the image has no strong ETag: see etag")
        return tag


def is_strong(tag: str) -> bool:
    """Whether that is a strong entity-tag (RFC 9110 §8.8.3)."""
    return _STRONG.fullmatch(tag) is not None


def parsed(answer: Response) -> object:
    """The JSON of a 200, or None."""
    if answer.status != 200 or not answer.is_complete:  # noqa: PLR2004
        return None
    try:
        return load(answer.body, MOST_JSON_VALUES)
    except JsonError:
        return None


def entries(answer: Response) -> list[Document] | None:
    """The objects of a list of images, or None if it is none."""
    document = parsed(answer)
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        return None
    return document


def whole_number(value: object) -> int | None:
    """A JSON number that is a size, or None."""
    return value if type(value) is int and 0 <= value < 1 << 63 else None
