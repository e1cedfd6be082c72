"""The body at a URL as a stream that goes on where a connection was cut (RFC 9110 §13.1.5, §14)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import attrs

from aero_storage.chunks.verify.remote import brief, checked_url
from aero_storage.cli.sources.http_requests import CUT, Answer, ask, reason_of
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.http.shown_urls import shown_url
from aero_storage.sizes import format_size

Say = Callable[[str], None]

_TRIES = 5
"""Attempts in a row to go on; the pauses before them are 1, 2, 4, 8 and 16 seconds."""

_PROGRESS = 16 * 1024 * 1024
"""After so many bytes the attempts are counted anew."""

_SLOWEST = 1024
_SLOW_SECONDS = 60.0
"""A connection that brings less than _SLOWEST bytes a second for so long counts as cut."""

_BUSY = frozenset({429, 500, 502, 503, 504})
_CHANGED = frozenset({HTTPStatus.OK, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, HTTPStatus.PRECONDITION_FAILED})
_GONE = frozenset({401, 403, 404, 410})
_STRONG_TAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII | re.IGNORECASE)


@attrs.frozen
class Clock:
    """The time, and pauses."""

    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


_CLOCK = Clock()


@attrs.frozen
class Validator:
    """The header that names the version of the bytes, and its value, for `If-Range`."""

    header: str
    value: str

    def contradicts(self, answer: Answer) -> bool:
        """Return whether an answer names another version; one after `If-Range` may leave a date out (§15.3.7)."""
        return answer.header(self.header) not in (None, self.value)


@attrs.define
class HttpBody:
    """The bytes at a URL; `size` is None if the server does not tell it."""

    url: str
    name: str
    """The URL, without what may be secret."""
    size: int | None
    validator: Validator | None
    """Names the version of the bytes, so that another one is never appended; None: a cut connection is the end."""
    _answer: Answer
    _say: Say
    _clock: Clock = _CLOCK
    _position: int = attrs.field(init=False, default=0)
    _left: int | None = attrs.field(init=False)
    """Bytes to come of the present answer."""
    _tries: int = attrs.field(init=False, default=0)
    _last_cut: int = attrs.field(init=False, default=0)
    _watched_since: float = attrs.field(init=False)
    _watched_from: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._left = self._answer.length
        self._watched_since = self._clock.now()

    def read(self, most: int, /) -> bytes:
        """Return the next bytes. Raises OperatorError if they cannot be had, or not of the same version."""
        while True:
            try:
                data = self._receive(most)
            except CUT as error:
                self._go_on(reason_of(error))
                continue
            if data:
                return data
            if self.size is None or self._position == self.size:
                return b""
            self._go_on("the connection was closed")

    def close(self) -> None:
        """Close the connection."""
        self._answer.close()

    def _receive(self, most: int) -> bytes:
        data = self._answer.read(most if self._left is None else min(most, self._left))
        if self._left is not None:
            self._left -= len(data)
        self._position += len(data)
        self._watch()
        return data

    def _watch(self) -> None:
        now = self._clock.now()
        if now - self._watched_since >= _SLOW_SECONDS:
            speed = (self._position - self._watched_from) / (now - self._watched_since)
            self._watched_since, self._watched_from = now, self._position
            if speed < _SLOWEST:
                raise TimeoutError(f"only {speed:.0f} bytes a second came in")

    def _go_on(self, reason: str) -> None:
        """Ask for the rest, until an answer comes."""
        self._answer.close()
        if self.validator is None:
            raise OperatorError(
                f"{self._cut_off(reason)}; the server names no version of the file (a strong ETag, or a "
                "Last-Modified), so nobody could tell whether the rest belongs to it"
            )
        if self._position - self._last_cut >= _PROGRESS:
            self._tries = 0
        self._last_cut = self._position
        while not self._has_gone_on(reason):
            reason = "the server does not answer as before"

    def _has_gone_on(self, reason: str) -> bool:
        if self._tries == _TRIES:
            raise OperatorError(
                f"{self._cut_off(reason)}, and {_TRIES} attempts to go on were in vain; import it again later"
            )
        self._say(f"{self._cut_off(reason)}; going on from there.")
        self._clock.pause(2.0**self._tries)
        self._tries += 1
        try:
            answer = self._ask_for_rest()
        except CUT:
            return False
        if answer.status in _BUSY:
            answer.close()
            return False
        self._take_over(answer)
        return True

    def _ask_for_rest(self) -> Answer:
        """Ask where the last answer came from; a URL that was made for one request is gone by now, ours is not."""
        assert self.validator is not None  # noqa: S101 - asked before
        headers = {"Range": f"bytes={self._position}-", "If-Range": self.validator.value}
        answer = ask(self._answer.url, headers)
        if answer.status in _GONE and self._answer.url != self.url:
            answer.close()
            answer = ask(self.url, headers)
        return answer

    def _take_over(self, answer: Answer) -> None:
        try:
            self._left = self._rest_in(answer)
        except BaseException:
            answer.close()
            raise
        self._answer = answer
        self._watched_since, self._watched_from = self._clock.now(), self._position

    def _rest_in(self, answer: Answer) -> int:
        """Return the length of an answer. Raises OperatorError unless it has the bytes from our position on."""
        assert self.validator is not None  # noqa: S101 - asked before
        if answer.status in _CHANGED or self.validator.contradicts(answer):
            raise OperatorError(
                f"{self.name}: changed while it was read, or cannot be read in parts; import it again"
            )
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            raise OperatorError(
                f"{self.name}: the rest is answered with status {answer.status}; import it again later"
            )
        match = _CONTENT_RANGE.fullmatch(answer.header("Content-Range") or "")
        require_identity(self.name, answer)
        require_framing(self.name, answer)
        if match is None or int(match[1]) != self._position:
            raise self._wrong_part()
        after = int(match[2]) + 1
        total = after if match[3] == "*" else int(match[3])
        if not self._position < after <= total or self.size not in (None, total):
            raise self._wrong_part()
        if answer.length not in (None, after - self._position):
            raise self._wrong_part()
        self.size = total if match[3] != "*" else self.size
        return after - self._position

    def _cut_off(self, reason: str) -> str:
        return f"{self.name}: cut off after {format_size(self._position)} ({reason})"

    def _wrong_part(self) -> OperatorError:
        return OperatorError(f"{self.name}: the server sent another part than was asked for; import it again later")


def validator_of(answer: Answer) -> Validator | None:
    """Return what names the version of the bytes: a strong tag, or a date that counts as strong (§8.8.2.2)."""
    tag = answer.header("ETag")
    if tag is not None and _STRONG_TAG.fullmatch(tag):
        return Validator("ETag", tag)
    modified, date = answer.header("Last-Modified") or "", answer.header("Date") or ""
    try:
        seconds = (parsedate_to_datetime(date) - parsedate_to_datetime(modified)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return Validator("Last-Modified", modified) if seconds >= 1 else None


def require_identity(name: str, answer: Answer) -> None:
    """Raise OperatorError if the bytes are encoded: lengths and parts would be those of the encoding."""
    encoding = answer.header("Content-Encoding")
    if encoding and encoding.lower() != "identity":
        raise OperatorError(
            f"{name}: comes with Content-Encoding {brief(encoding)}, which was not asked for; fetch it by another "
            "program: curl -L URL | aero-storage import - …"
        )


def require_framing(name: str, answer: Answer) -> None:
    """Raise OperatorError if the body has a transfer coding that hides its end (RFC 9112 §6.3)."""
    coding = answer.transfer_encoding
    if coding is not None and not answer.is_chunked:
        raise OperatorError(f"{name}: comes with Transfer-Encoding {brief(coding)}; chunked alone is understood")
    if coding is not None and answer.header("Content-Length") is not None:
        raise OperatorError(
            f"{name}: comes with both Transfer-Encoding and Content-Length, so its end is in doubt; is there a "
            "faulty proxy?"
        )


def open_url(url: str, say: Say, clock: Clock = _CLOCK) -> HttpBody:
    """Ask for a URL and return the body. Raises OperatorError, without secrets in it, if there is none."""
    checked_url(url)
    name = printable(shown_url(url), None)
    answer = _first_answer(url, name, say, clock)
    try:
        _require_whole(name, answer)
    except BaseException:
        answer.close()
        raise
    return HttpBody(url, name, answer.length, validator_of(answer), answer, say, clock)


def _require_whole(name: str, answer: Answer) -> None:
    """Raise OperatorError unless an answer brings the whole file, and its end can be told from a cut."""
    require_identity(name, answer)
    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        raise OperatorError(
            f"{name}: the proxy wants the name and password of a user; put them into the variable that names it: "
            "http_proxy=http://NAME:PASSWORD@HOST:PORT"
        )
    if answer.status != HTTPStatus.OK:
        raise OperatorError(f"{name}: is answered with status {answer.status}; is that the URL of the image?")
    require_framing(name, answer)
    if answer.length is None and not answer.is_chunked:
        raise OperatorError(
            f"{name}: comes without a length, so a part could not be told from the whole; fetch it by another "
            "program, look whether it is complete, and import the file"
        )


def _first_answer(url: str, name: str, say: Say, clock: Clock) -> Answer:
    for attempt in range(_TRIES + 1):
        try:
            answer = ask(url)
        except CUT as error:
            raise OperatorError(f"{name}: cannot be read: {reason_of(error)}") from error
        if answer.status not in _BUSY or attempt == _TRIES:
            break
        answer.close()
        say(f"{name}: is answered with status {answer.status}; trying again.")
        clock.pause(2.0**attempt)
    return answer
