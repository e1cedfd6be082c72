"""Faults of an object store, each for so many requests that fit: what the store does, or what it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType

import attrs


@attrs.frozen
class Asked:
    """A request as the store received it; `operation` is one of OPERATIONS."""

    operation: str
    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By lower-case names."""
    body: bytes = attrs.field(default=b"", repr=False)


OPERATIONS = ("get", "head", "put", "list", "delete", "begin_upload", "put_part", "complete_upload", "abort_upload")

KEEP, CLOSE, RESET, HANG = "keep", "close", "reset", "hang"
"""What happens behind the last byte that is sent."""


@attrs.frozen
class Answer:
    """A response, and how it is sent."""

    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = attrs.field(default=b"", repr=False)
    whole: bytes | None = attrs.field(default=None, repr=False)
    """All bytes of the object that a part was asked of."""
    delay: float = 0.0
    """Seconds before the head."""
    sends_head: bool = True
    cut: int | None = None
    """Bytes of the body after which `ending` happens."""
    ending: str = KEEP
    pause: tuple[int, Callable[[], object]] | None = None
    """Called once when so many bytes of the body have been sent."""


@attrs.frozen
class Fault:
    """Alters an answer; the request is carried out before only if the fault `executes` it."""

    name: str
    alter: Callable[[Asked, Answer], Answer] = attrs.field(repr=False)
    executes: bool = True


def error_answer(status: int, word: str, message: str = "what the store says of it") -> Answer:
    """Return an error of S3; `word` is its code."""
    text = f"<Error><Code>{word}</Code><Message>{message}</Message><RequestId>1</RequestId></Error>"
    return Answer(status, {"content-type": "application/xml"}, text.encode())


def error(status: int, word: str, message: str = "what the store says of it") -> Fault:
    return Fault(f"{status} {word}", lambda _asked, _answer: error_answer(status, word, message), executes=False)


SLOW_DOWN = error(503, "SlowDown", "Please reduce your request rate.")
INTERNAL_ERROR = error(500, "InternalError")
ACCESS_DENIED = error(403, "AccessDenied")
CLOCK_SKEWED = error(403, "RequestTimeTooSkewed", "The difference between the request time and ours is too large.")


def slow(seconds: float) -> Fault:
    return Fault("slow", lambda _asked, answer: attrs.evolve(answer, delay=seconds))


HANGING = Fault("hang", lambda _asked, answer: attrs.evolve(answer, sends_head=False, ending=HANG), executes=False)
RESETTING = Fault(
    "reset", lambda _asked, answer: attrs.evolve(answer, sends_head=False, ending=RESET), executes=False
)
LOST_ANSWER = Fault("lost answer", lambda _asked, answer: attrs.evolve(answer, sends_head=False, ending=RESET))
"""The request is carried out, and its answer is lost."""


def cut(after: int, ending: str = CLOSE) -> Fault:
    """End the connection after so many bytes of the body: by CLOSE or RESET, or HANG there."""
    return Fault(f"body cut ({ending})", lambda _asked, answer: attrs.evolve(answer, cut=after, ending=ending))


def headers(**changed: str | None) -> Fault:
    """Change headers of the answer; None leaves one out. An underscore stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in changed.items()}

    def alter(_asked: Asked, answer: Answer) -> Answer:
        merged = {**answer.headers, **named}
        return attrs.evolve(answer, headers={name: value for name, value in merged.items() if value is not None})

    return Fault("headers", alter)


def other_tag(tag: str = '"00000000000000000000000000000000"') -> Fault:
    return headers(etag=tag)


def shifted_range(by: int) -> Fault:
    """Answer with the range that begins so many bytes later, and say so."""

    def alter(asked: Asked, answer: Answer) -> Answer:
        start, end = range_of(asked.headers["range"])
        return partial_answer(answer, start + by, end + by)

    return Fault("shifted range", alter)


def shorter(by: int) -> Fault:
    """Answer with a range that ends so many bytes earlier, and say so."""

    def alter(asked: Asked, answer: Answer) -> Answer:
        start, end = range_of(asked.headers["range"])
        return partial_answer(answer, start, end - by)

    return Fault("shorter range", alter)


def _alter_to_whole(_asked: Asked, answer: Answer) -> Answer:
    named = {name: value for name, value in answer.headers.items() if name != "content-range"}
    return attrs.evolve(answer, status=200, headers=named, body=answer.whole or b"")


WHOLE = Fault("200 for a range", _alter_to_whole)


def body(data: bytes) -> Fault:
    """Answer with another body: a document that is cut short, or hostile."""
    return Fault("body", lambda _asked, answer: attrs.evolve(answer, body=data))


def edited(edit: Callable[[bytes], bytes]) -> Fault:
    """Answer with the body that `edit` makes of the right one."""
    return Fault("edited", lambda _asked, answer: attrs.evolve(answer, body=edit(answer.body)))


def meanwhile(after: int, action: Callable[[], object]) -> Fault:
    """Call `action` in mid-body, after so many bytes: to replace the object, to delete it, to wait."""
    return Fault("meanwhile", lambda _asked, answer: attrs.evolve(answer, pause=(after, action)))


def range_of(text: str) -> tuple[int, int]:
    """Return the bounds of `bytes=a-b`; the second lies behind the last byte."""
    first, _, last = text.removeprefix("bytes=").partition("-")
    return int(first), int(last) + 1


def partial_answer(answer: Answer, start: int, end: int) -> Answer:
    whole = answer.whole or b""
    named = {**answer.headers, "content-range": f"bytes {start}-{end - 1}/{len(whole)}"}
    return attrs.evolve(answer, status=206, headers=named, body=whole[start:end])


@attrs.define
class _Rule:
    fault: Fault
    operations: tuple[str, ...]
    key: str
    skip: int
    times: float


@attrs.define(eq=False)
class Script:
    """The faults that are to come; any thread may add some while the store runs."""

    _rules: list[_Rule] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def add(self, fault: Fault, *operations: str, key: str = "*", times: float = 1, skip: int = 0) -> None:
        """Have the next `times` requests of these operations (none named: all) to matching keys meet the fault.

        `skip` so many before; `times=math.inf` until `clear`. Of several that fit, the first added is met.
        """
        assert set(operations) <= set(OPERATIONS), operations
        with self._lock:
            self._rules.append(_Rule(fault, operations or OPERATIONS, key, skip, times))

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def take(self, asked: Asked) -> Fault | None:
        """Return the fault that this request meets; it has been met then."""
        with self._lock:
            for rule in self._rules:
                if asked.operation in rule.operations and fnmatchcase(asked.key, rule.key) and rule.times > 0:
                    if rule.skip:
                        rule.skip -= 1
                        continue
                    rule.times -= 1
                    return rule.fault
        return None
