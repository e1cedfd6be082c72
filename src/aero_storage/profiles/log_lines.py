"""Reads of an image, and requests for its profile, from the lines of request logs (http.md §8 and §15). Pure."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from functools import lru_cache

import attrs

from aero_storage.http.dates import parse_rfc3339

MOST_LINE_BYTES = 64 * 1024
"""A longer line is none of the request log."""

ChunkPlace = Callable[[str, bool], tuple[int, int] | None]
"""Returns the first byte of the image and the length of the chunk behind a path; None if it is not known.

The second argument says whether its line tells the version, so that the path need not.
"""

_KEY_BYTES = 16
_MESSAGE = "request complete"
_CHUNK = "/chunks/:chunk_name"
_PROFILE = "/profile"
_OK, _PARTIAL, _NOT_MODIFIED = 200, 206, 304
_ASKED = frozenset({_OK, _NOT_MODIFIED})
_RANGE = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)
_BEGIN = re.compile(rb'\{\s*+["}]')
"""The begin of an object; loggers may write a `{tag}` before it."""
_ENVELOPES = ("message", "log", "MESSAGE")
"""The members in which Filebeat, Docker and the journal keep the line of a program, as text."""
_MICROSECONDS = 1_000_000
_MOST_LATENCY = 10.0**9
_IDENTITIES = ("lease", "user_id", "client")


class LogLineError(ValueError):
    """A line is no line of a request log, or one of its fields is not as it has to be."""


@attrs.frozen
class LogEvent:
    """A read of bytes of the image, or a request for its profile."""

    reader: bytes
    """A digest of who it was: the lease, else the user, else the client."""
    began: int
    """In microseconds since the epoch."""
    first: int = 0
    after: int = 0
    """The first byte behind those that were sent; 0 for a request for the profile."""

    @property
    def asks_for_profile(self) -> bool:
        """Whether it is a request for the profile."""
        return not self.after


def _nowhere(_path: str, _is_told: bool) -> None:  # noqa: FBT001 - of ChunkPlace
    return None


@attrs.frozen
class LogReader:
    """Looks for what one version of an image was read of."""

    image_id: str
    version: str
    chunk_place: ChunkPlace = _nowhere
    """Where the chunks lie whose lines do not tell."""
    _sought: bytes = attrs.field(init=False)

    @_sought.default
    def _encode_id(self) -> bytes:
        return self.image_id.encode()

    def parse(self, line: bytes) -> LogEvent | None:
        """Return what a line tells of the image; None if that is nothing. Raises LogLineError.

        A line without the name of the image is not parsed: most lines of a busy server are of other images.
        """
        line = line.strip()
        if not line:
            return None
        begin = _BEGIN.search(line)  # container runtimes and loggers write time and stream before it
        if begin is None or not line.endswith(b"}") or len(line) > MOST_LINE_BYTES:
            raise LogLineError("no JSON object")
        if self._sought not in line:
            return None
        # Others may have added bytes that are no UTF-8.
        fields = _unwrapped(_parsed(line[begin.start() :].decode(errors="surrogateescape")))
        if fields.get("message") != _MESSAGE or fields.get("image_id") != self.image_id:
            return None
        return self._event(fields)

    def _event(self, fields: dict[str, object]) -> LogEvent | None:
        status, route = _number(fields, "status"), _text(fields, "route")
        if status in _ASKED and route.endswith(_PROFILE):
            is_ours = fields.get("version", self.version) == self.version
            return LogEvent(_reader(fields), _began(fields)) if is_ours else None
        is_chunk = status == _OK and route.endswith(_CHUNK)
        if not (is_chunk or status == _PARTIAL) or fields.get("method") != "GET":
            return None
        sent = _number(fields, "bytes_sent")
        part = self._part(fields, is_chunk=is_chunk)
        if part is None or sent <= 0:
            return None
        first, length = part
        return LogEvent(_reader(fields), _began(fields), first, first + min(sent, length))

    def _part(self, fields: dict[str, object], *, is_chunk: bool) -> tuple[int, int] | None:
        """Return the first byte and the number of bytes that were asked for, if they are of this version."""
        version = fields.get("version")
        if version is not None and version != self.version:
            return None
        if version is not None and "range" in fields:
            return _range(_text(fields, "range"))
        return self.chunk_place(_text(fields, "path"), version is not None) if is_chunk else None


def _parsed(text: str) -> dict[str, object]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LogLineError("no JSON") from error
    if not isinstance(fields, dict):
        raise LogLineError("no JSON object")
    return fields


def _unwrapped(fields: dict[str, object]) -> dict[str, object]:
    """Return the fields of the line that another program has put into a line of its own."""
    if fields.get("message") != _MESSAGE:
        for name in _ENVELOPES:
            text = fields.get(name)
            if isinstance(text, str) and text.startswith("{"):
                return _parsed(text)
    return fields


def _number(fields: dict[str, object], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, float) and value.is_integer():  # 206.0, by programs that have but one kind of numbers
        value = int(value)
    if type(value) is not int:
        raise LogLineError(f"{name} is no whole number")
    return value


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise LogLineError(f"{name} is no text")
    return value


def _range(text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None or int(match[2]) < int(match[1]):
        raise LogLineError("range is none")
    return int(match[1]), int(match[2]) - int(match[1]) + 1


def _began(fields: dict[str, object]) -> int:
    ended, latency = parse_rfc3339(_text(fields, "timestamp")), fields.get("latency_seconds")
    if ended is None or ended < 0:
        raise LogLineError("timestamp is none")
    if isinstance(latency, bool) or not isinstance(latency, (int, float)):
        raise LogLineError("latency_seconds is no number")
    if not math.isfinite(latency) or not 0 <= latency < _MOST_LATENCY:
        raise LogLineError("latency_seconds is none")
    return max(0, ended // 1000 - round(latency * _MICROSECONDS))


def _reader(fields: dict[str, object]) -> bytes:
    for name in _IDENTITIES:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return _digest(name, value)
    raise LogLineError("neither lease, user_id nor client is there")


@lru_cache(1024)
def _digest(name: str, value: str) -> bytes:
    identity = f"{name}\n{value}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(identity, digest_size=_KEY_BYTES).digest()
