"""Check of what the image is: clients take its bytes for the sectors of a disk."""

from __future__ import annotations

from aero_storage.doctor.check import Check
from aero_storage.doctor.checks.ranges import fault_of, from_to
from aero_storage.doctor.result import Result, SkippedError, good, warning
from aero_storage.doctor.session import Session
from aero_storage.image_formats.byte_source import Sample, short_sample
from aero_storage.image_formats.recognition import recognise

_MEANS = "emulators and browsers read its bytes for the sectors of a disk, and find none"


def _content(session: Session) -> Result:
    seen = recognise(_sample(session), session.image)
    if seen.container:
        return warning(
            f"the image is {seen.container}, a container",
            f"{_MEANS}: they need raw",
            f"on the server, bring it in as raw: aero-storage import FILE --id {session.image}",
        )
    if seen.other:
        return warning(f"the image is {seen.other.kind}", _MEANS, seen.other.advice("FILE", session.image))
    return good(f"a raw disk: {seen.disk}" if seen.disk else "no sign of a container, an archive or another file")


def _sample(session: Session) -> Sample:
    return short_sample(lambda offset, length: _bytes_of(session, offset, length), session.size)


def _bytes_of(session: Session, offset: int, length: int) -> bytes:
    byte_range = from_to(offset, offset + length - 1)
    answer = session.range(byte_range.header)
    if fault_of(answer, byte_range, session.size):
        raise SkippedError(f"{answer.request} is not answered as it should be: see the checks of ranges")
    return answer.body


CHECKS = (Check("content", "The image is a raw disk", _content),)
