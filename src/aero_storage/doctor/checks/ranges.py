"""Checks of range requests, on which v86, qemu and every resumed download depend."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aero_storage.doctor import advice
from aero_storage.doctor.check import Check, wrong_status
from aero_storage.doctor.http_client import MOST
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, SkippedError, failure, good, warning
from aero_storage.doctor.session import Session
from aero_storage.http.cors import MAX_RANGE_BYTES

_SECTOR = 512
_OK, _PARTIAL, _NOT_FOUND, _TOO_LARGE, _NOT_SATISFIABLE = 200, 206, 404, 413, 416
_FOUR_GIB = 1 << 32
_WINDOW = MOST

_SHIFT_MEANS = "an emulator reads other sectors than it asked for, and the guest's file system breaks"
_SHIFT_MEND = (
    "empty the proxy's cache; if it slices, let the slice be in its key (proxy_cache_key $uri$slice_range;); "
    "look for a file that is written in place: new images come by rename"
)


@attrs.frozen
class _ByteRange:
    """Bytes `first` to `last` of an image, inclusive, and the `Range` value that requests them."""

    header: str
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


def from_to(first: int, last: int) -> _ByteRange:
    """Return a range with both ends, as most clients write it."""
    return _ByteRange(f"bytes={first}-{last}", first, last)


def fault_of(answer: Response, byte_range: _ByteRange, size: int) -> Result | None:
    """Return the fault of the answer to a range of an image of `size` bytes; None if it is exactly the range."""
    if answer.status == _OK:
        return failure(
            f"{answer.request}: status 200 and the whole image: Range was dropped on the way",
            "v86 needs a 206; it and others take the first bytes of a 200 for those they asked for, or load 20 GB",
            advice.RANGE,
        )
    if answer.status != _PARTIAL:
        return wrong_status(answer, "206")
    expected = f"bytes {byte_range.first}-{byte_range.last}/{size}"
    if answer.get("Content-Range") != expected:
        return failure(
            f"{answer.request}: {answer.show('Content-Range')}, not {expected}",
            "clients refuse it, or put the bytes into the wrong place",
            f"{advice.KEEP_HEADERS}; {advice.RANGE}",
        )
    if answer.length() != byte_range.length:
        return failure(
            f"{answer.request}: {answer.show('Content-Length')}, not {byte_range.length}",
            "clients cannot tell whether they have all bytes",
            advice.NO_TRANSFORM,
        )
    return None


def _single(make: Callable[[int], _ByteRange]) -> Callable[[Session], Result]:
    def examine(session: Session) -> Result:
        byte_range = make(session.size)
        answer = session.range(byte_range.header)
        plain = f"206, bytes {byte_range.first}-{byte_range.last} of {session.size}"
        return fault_of(answer, byte_range, session.size) or good(plain)

    return examine


def _middle(size: int) -> _ByteRange:
    return from_to(size // 2, min(size // 2 + _SECTOR, size) - 1)


def _suffix(size: int) -> _ByteRange:
    length = min(_SECTOR, size)
    return _ByteRange(f"bytes=-{length}", size - length, size - 1)


def _open_ended(size: int) -> _ByteRange:
    first = max(0, size - _SECTOR)
    return _ByteRange(f"bytes={first}-", first, size - 1)


def _clipped(size: int) -> _ByteRange:
    first = max(0, size - _SECTOR)
    return _ByteRange(f"bytes={first}-{size + _SECTOR}", first, size - 1)


def _far(session: Session) -> Result:
    if session.size <= _FOUR_GIB + _SECTOR:
        raise SkippedError("the image ends before 4 GiB; --image names a larger one")
    return _single(lambda _: from_to(_FOUR_GIB - _SECTOR, _FOUR_GIB + _SECTOR - 1))(session)


def _unsatisfiable(session: Session) -> Result:
    answer, expected = session.range(f"bytes={session.size}-"), f"bytes */{session.size}"
    if answer.status != _NOT_SATISFIABLE:
        return failure(
            f"{answer.request}: status {answer.status}, not 416",
            "a client that resumes a complete download loads all of it again, or takes an error for bytes",
            advice.RANGE,
        )
    if answer.get("Content-Range") != expected:
        return failure(
            f"{answer.request}: {answer.show('Content-Range')}, not {expected}",
            "clients learn from it how large the image has become",
            f"{advice.KEEP_HEADERS}; no error_page for 416",
        )
    return good(f"416, {expected}")


def _multiple(session: Session) -> Result:
    if session.size == 1:
        raise SkippedError("the image has one byte")
    answer = session.range("bytes=0-0,1-1")
    if answer.status == _NOT_SATISFIABLE:
        return good("416: one range per request, as the daemon has it")
    if answer.status in (_OK, _PARTIAL):
        return warning(
            f"{answer.request}: status {answer.status}, {answer.show('Content-Type')}, though the daemon says 416",
            "no emulator asks for several at once; but something on the way makes ranges of its own",
            "nothing, if the other ranges are right; in nginx: proxy_force_ranges off; max_ranges 1;",
        )
    return wrong_status(answer, "416")


def _longest(session: Session) -> Result:
    answer = session.fetch("HEAD", session.path, {"Range": f"bytes=0-{session.size - 1}"})
    if answer.status in (_OK, _PARTIAL):
        return good("the whole image may be read as one range")
    if answer.status != _TOO_LARGE:
        return wrong_status(answer, "206 or 413")
    if answer.get(MAX_RANGE_BYTES) is None:
        return warning(
            f"{answer.request}: status 413, {answer.show(MAX_RANGE_BYTES)}",
            "clients cannot learn how much they may read at once",
            advice.KEEP_HEADERS,
        )
    return good(
        f"longer ones are a 413, {answer.show(MAX_RANGE_BYTES)}: emulators ask for less; "
        "rclone, axel, fsspec, nbdkit and qemu-io may ask for more, and need --max-range-bytes none"
    )


def _bytes_agree(session: Session) -> Result:
    size = session.size
    window, data = _varied_window(session)
    first, length = window.first, window.length
    parts = [(0, 1), (1, 2), (length // 3, _SECTOR), (length // 2 - 1, _SECTOR + 1), (length - 1, 1)]
    for start, count in parts:
        start, count = max(start, 0), min(count, length - max(start, 0))  # noqa: PLW2901
        if count <= 0:
            continue
        byte_range = from_to(first + start, first + start + count - 1)
        answer = session.range(byte_range.header)
        if fault := fault_of(answer, byte_range, size):
            return fault
        if answer.body != data[start : start + count]:
            return failure(f"{answer.request}: other bytes than {window.header} has there", _SHIFT_MEANS, _SHIFT_MEND)
    return _against_whole(session) or good(
        f"ranges within bytes {first}-{window.last} have the same bytes as the whole stretch"
    )


def _varied_window(session: Session) -> tuple[_ByteRange, bytes]:
    """Return a range whose bytes are not all equal, and the bytes: a shift within zeros cannot be seen."""
    size = session.size
    for at in (0, size // 4, size // 2, 3 * size // 4, max(0, size - _WINDOW)):
        window = from_to(at, min(at + _WINDOW, size) - 1)
        answer = session.range(window.header)
        if answer.status == _TOO_LARGE:
            raise SkippedError(f"{answer.request}: status 413, {answer.show(MAX_RANGE_BYTES)}")
        if fault_of(answer, window, size):
            raise SkippedError(f"{answer.request} is not answered as it should be: see the checks of ranges above")
        if len(set(answer.body)) > 1:
            return window, answer.body
    raise SkippedError("wherever one looked, the image is one byte over and over, which would hide a shift")


def _against_whole(session: Session) -> Result | None:
    """Compare the beginning of the whole image with a range, and the last bytes by range and by suffix."""
    size = session.size
    whole, beginning = session.fetch("GET", session.path), from_to(0, min(_WINDOW, size) - 1)
    if whole.status == _OK and not session.range(beginning.header).body.startswith(whole.body[: beginning.length]):
        return failure(
            f"{beginning.header}: other bytes than a GET without Range begins with", _SHIFT_MEANS, _SHIFT_MEND
        )
    by_suffix, by_name = _suffix(size), _open_ended(size)
    if session.range(by_suffix.header).body != session.range(by_name.header).body:
        return failure(f"{by_suffix.header} has other bytes than {by_name.header}", _SHIFT_MEANS, _SHIFT_MEND)
    return None


def _large(session: Session) -> tuple[Response, _ByteRange]:
    """Return the longest useful range that is not refused (--max-range-bytes)."""
    length = min(2 << 20, session.size)
    while True:
        byte_range = from_to(0, length - 1)
        answer = session.range(byte_range.header, most=length)
        if answer.status != _TOO_LARGE or length <= _SECTOR:
            return answer, byte_range
        length = max(length // 8, _SECTOR)


_GATHERED_SHARE = 0.8
_TELLING_SECONDS = 0.5


def _streamed(session: Session) -> Result:
    least = session.client.ask("GET", session.path, {"Range": "bytes=0-0"})
    answer, byte_range = _large(session)
    if fault := fault_of(answer, byte_range, session.size):
        return fault
    if _is_gathered(answer, least):  # a disk in standby, or a busy machine, looks the same, but only once
        answer = session.client.ask("GET", session.path, {"Range": byte_range.header}, most=byte_range.length)
    seen = (
        f"{byte_range.length} bytes, the first after {answer.first_byte:.3f} s, the last after {answer.seconds:.3f} s"
    )
    if _is_gathered(answer, least):
        return warning(
            f"{seen}, twice; one byte alone came after {least.first_byte:.3f} s",
            "it seems that something takes in the whole answer before it passes it on: "
            "each read waits for more than it needs",
            advice.NO_BUFFERS,
        )
    if answer.seconds < _TELLING_SECONDS:
        return good(f"{seen}: too quick to tell whether something gathers it all first, and to matter")
    return good(seen)


def _is_gathered(answer: Response, least: Response) -> bool:
    """Return whether nearly all the time passed before the first byte, compared with a range of one byte."""
    waited = answer.first_byte - least.first_byte
    return waited > max(_TELLING_SECONDS, _GATHERED_SHARE * answer.seconds)


CHECKS = (
    Check("range-first", "The first bytes", _single(lambda size: from_to(0, min(_SECTOR, size) - 1))),
    Check("range-one", "One byte", _single(lambda _: from_to(0, 0))),
    Check("range-middle", "Bytes in the middle", _single(_middle)),
    Check("range-last", "The last byte", _single(lambda size: from_to(size - 1, size - 1))),
    Check("range-suffix", "The end, as bytes=-N", _single(_suffix)),
    Check("range-open", "From a place to the end, as bytes=N-", _single(_open_ended)),
    Check("range-clipped", "A range beyond the end is clipped, as v86 relies on", _single(_clipped)),
    Check("range-far", "Bytes around 4 GiB", _far),
    Check("range-unsatisfiable", "A range after the end is refused with the size", _unsatisfiable),
    Check("range-multiple", "Several ranges at once", _multiple),
    Check("range-limit", "The longest range that may be read at once", _longest),
    Check("range-bytes", "Ranges that overlap agree to the byte", _bytes_agree),
    Check("streaming", "A large range comes as it is read", _streamed),
)
