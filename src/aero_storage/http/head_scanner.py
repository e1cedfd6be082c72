"""Finds the byte that makes a request head unusable, as soon as it comes (RFC 9112 §3 to §5).

A state machine over the parts of a head. It looks at each byte once, in whatever pieces the head comes. So the
outcome does not depend on the pieces, and the time grows with the length of the head alone.

It knows the grammar of the request line and of header lines, the limits, and which bytes a `Content-Length` may have.
All else that is wrong with a head shows when the head is complete: `general_head` and `request_head.refusal_of`.
"""

from __future__ import annotations

import re

import attrs

from aero_storage.http.request_head import MAX_HEAD, MAX_HEADERS

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""The bytes of a token (RFC 9110 §5.6.2): methods and names of headers consist of them."""

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]*")
_VISIBLE = re.compile(rb"[\x21-\x7e]*")
_TEXT = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_LENGTH = re.compile(rb"[0-9, \t]*")
_VERSIONS = (b"H", b"T", b"T", b"P", b"/", b"1", b".", b"01")
_CONTENT_LENGTH = b"content-length"
_CR = 0x0D
_BAD_REQUEST, _TARGET_TOO_LONG, _HEAD_TOO_LARGE = 400, 414, 431

Buffer = bytes | bytearray


@attrs.frozen(eq=False)
class _State:
    """A part of a head: bytes of `run` stay in it, and each byte in `steps` leads on. No other byte may follow."""

    run: re.Pattern[bytes] | None = None
    """Matches any number of them; None if there are none."""
    if_too_long: int = _HEAD_TOO_LARGE
    """The status if a head that is still in this part has reached its limit."""
    is_watched: bool = False
    """Whether more than the byte decides what follows: the name that ends there, or the number of lines."""
    is_last: bool = False
    """Whether nothing behind it is looked at."""
    refusal: int | None = None
    """The status if the head is refused."""
    steps: dict[int, _State] = attrs.field(init=False, factory=dict, repr=False)

    def on(self, among: bytes, following: _State) -> None:
        """Let each of these bytes lead to `following`."""
        self.steps.update(dict.fromkeys(among, following))


_METHOD = _State(if_too_long=_TARGET_TOO_LONG)
_FIRST_LINE, _LINE = _State(is_watched=True), _State(is_watched=True)
"""The beginning of a header line; the first one cannot continue another."""
_NAME, _VALUE = _State(_TOKEN, is_watched=True), _State(_TEXT)
_CONTENT_LENGTH_VALUE, _CONTENT_LENGTH_LINE = _State(_LENGTH), _State(is_watched=True)
"""The value of a `Content-Length`, and the beginning of a line that may continue it."""
_END = _State(is_last=True)
_BAD, _TOO_MANY = _State(is_last=True, refusal=_BAD_REQUEST), _State(is_last=True, refusal=_HEAD_TOO_LARGE)


def _link_request_line() -> None:
    in_method, target = _State(_TOKEN, _TARGET_TOO_LONG), _State(if_too_long=_TARGET_TOO_LONG)
    in_target, version = _State(_VISIBLE, _TARGET_TOO_LONG), _State(if_too_long=_TARGET_TOO_LONG)
    _METHOD.on(TOKEN_BYTES, in_method)
    in_method.on(b" ", target)
    target.on(bytes(range(0x21, 0x7F)), in_target)
    in_target.on(b" ", version)
    for among in (*_VERSIONS, b"\r"):
        following = _State(if_too_long=_TARGET_TOO_LONG)
        version.on(among, following)
        version = following
    version.on(b"\n", _FIRST_LINE)


def _link_header_lines() -> None:
    empty_line = _State()
    empty_line.on(b"\n", _END)
    _NAME.on(b":", _VALUE)
    for line in (_FIRST_LINE, _LINE, _CONTENT_LENGTH_LINE):
        line.on(TOKEN_BYTES, _NAME)
        line.on(b"\r", empty_line)
    for value, line in ((_VALUE, _LINE), (_CONTENT_LENGTH_VALUE, _CONTENT_LENGTH_LINE)):
        line_end = _State()
        value.on(b"\r", line_end)
        line_end.on(b"\n", line)
        line.on(b" \t", value)  # a continued line (obs-fold, RFC 9112 §5.2)


_link_request_line()
_link_header_lines()


@attrs.define
class HeadScanner:
    """Looks at the bytes of one head, in order; the first byte that cannot follow decides."""

    scanned: int = 0
    """Number of bytes that were looked at. After a refusal the last of them is the one that decided."""
    _state: _State = attrs.field(default=_METHOD, repr=False)
    _headers: int = 0
    """Number of lines after the request line; continued lines count, as they cost as much."""
    _name: int = 0
    """Offset of the last line of a header from the beginning of the head."""

    def scan(self, data: Buffer, start: int) -> int | None:
        """Look at what has come of the head that begins at `start` of `data`; return its status if it is refused.

        Bytes after the empty line that ends the head are not looked at.
        """
        state, at, end = self._state, start + self.scanned, min(len(data), start + MAX_HEAD)
        while at < end and not state.is_last:
            if state.run is not None:
                at = state.run.match(data, at, end).end()  # type: ignore[union-attr] # it may match nothing
                if at == end:
                    break
            following = state.steps.get(data[at], _BAD)
            state = self._watch(state, following, data, start, at) if state.is_watched else following
            at += 1
        self.scanned, self._state = at - start, state
        return state.refusal or (None if state.is_last or self.scanned < MAX_HEAD else state.if_too_long)

    def _watch(self, state: _State, following: _State, data: Buffer, start: int, at: int) -> _State:
        """Count a line that begins at `at`, or look at the name that ends there; return the state that follows."""
        if state is _NAME:
            name = data[start + self._name : at]
            return _CONTENT_LENGTH_VALUE if following is _VALUE and name.lower() == _CONTENT_LENGTH else following
        if following is _BAD or data[at] == _CR:
            return following
        self._name = at - start
        self._headers += 1
        return following if self._headers <= MAX_HEADERS else _TOO_MANY
