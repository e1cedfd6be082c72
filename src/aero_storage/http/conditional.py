"""Validators and conditional requests (RFC 9110 §8.8 and §13, http.md §3 and §5)."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable

import attrs

from aero_storage.http.dates import NANOSECONDS, parse_http_date, usable_mtime

_ENTITY_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
_LIST_MEMBER = re.compile(r'(?:[^",]|"[^"]*"?)+')
_BLANKS = " \t"
_Comparison = Callable[[str, str], bool]


class ConditionResult(enum.Enum):
    """The outcome of the preconditions of a request."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"
    FAILED = "failed"


@attrs.frozen(cache_hash=True)
class Validators:
    """The validators of a representation.

    `etag` with its quotes and, if it is weak, its `W/`; `last_modified` in nanoseconds since the epoch, None if there
    is none.
    """

    etag: str
    last_modified: int | None
    last_modified_second: int | None = attrs.field(init=False, eq=False, repr=False)
    """`last_modified` in whole seconds, the resolution of HTTP dates."""

    @last_modified_second.default
    def _whole_seconds(self) -> int | None:
        return None if self.last_modified is None else self.last_modified // NANOSECONDS

    def at(self, now: float) -> Validators:
        """Return the validators of a response with the `Date` `now`, in seconds since the epoch.

        A date that is later than `Date` is none (RFC 9110 §8.8.2.1).
        """
        second = self.last_modified_second
        return self if second is None or second <= now else Validators(self.etag, None)


@attrs.frozen
class Preconditions:
    """The values of the conditional request headers as received; None if a header is absent.

    `now` is the time of the request in seconds since the epoch, for two-digit years.
    """

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None
    if_range: str | None = None
    now: float = 0.0


UNCONDITIONAL = Preconditions()
"""The preconditions of a request without any."""


def is_entity_tag(text: str) -> bool:
    """Return whether `text` is one quoted entity-tag of visible ASCII, `"…"` or `W/"…"`."""
    return _ENTITY_TAG.fullmatch(text) is not None


def file_etag(size: int, mtime_ns: int, ctime_ns: int, inode: int) -> str:
    """Return the strong entity-tag of a file, `"<size>-<seconds>-<nanoseconds>"` in hex, from size and mtime.

    An unusable mtime is no evidence of sameness (RFC 9110 §8.8.1): it counts as 0-0, and ctime and inode follow.
    """
    usable = usable_mtime(mtime_ns)
    seconds, fraction = divmod(usable or 0, NANOSECONDS)
    changed, changed_fraction = divmod(ctime_ns, NANOSECONDS)
    more = "" if usable is not None else f"-{changed:x}-{changed_fraction:x}-{inode:x}"
    return f'"{size:x}-{seconds:x}-{fraction:x}{more}"'


def evaluate(conditions: Preconditions, current: Validators) -> ConditionResult:
    """Evaluate the preconditions of a GET or HEAD in the order of RFC 9110 §13.2.2, without `If-Range`."""
    if conditions is UNCONDITIONAL:
        return ConditionResult.PROCEED
    if _precondition_fails(conditions, current):
        return ConditionResult.FAILED
    return ConditionResult.NOT_MODIFIED if _not_modified(conditions, current) else ConditionResult.PROCEED


def _precondition_fails(conditions: Preconditions, current: Validators) -> bool:
    if conditions.if_match is not None:
        return not _lists(conditions.if_match, current.etag, _strongly_equal)
    since = _date(conditions.if_unmodified_since, conditions.now)
    modified = current.last_modified_second
    return since is not None and modified is not None and since < modified


def _not_modified(conditions: Preconditions, current: Validators) -> bool:
    if conditions.if_none_match is not None:
        return _lists(conditions.if_none_match, current.etag, _weakly_equal)
    since = _date(conditions.if_modified_since, conditions.now)
    modified = current.last_modified_second
    return since is not None and modified is not None and since >= modified


def if_range_holds(conditions: Preconditions, current: Validators, now: float) -> bool:
    """Return whether `Range` may be honoured (RFC 9110 §13.1.5): no `If-Range`, or an exact match.

    A date matches only where it is strong: at least one second before `now`, the `Date` of the response (§8.8.2.2).
    """
    value = conditions.if_range
    if value is None:
        return True
    value = value.strip(_BLANKS)
    if is_entity_tag(value):
        return _strongly_equal(value, current.etag)
    date = parse_http_date(value, conditions.now)
    return date is not None and date == current.last_modified_second and date + 1 <= int(now)


def _date(value: str | None, now: float) -> int | None:
    return None if value is None else parse_http_date(value, now)


def _lists(header: str, etag: str, equal: _Comparison) -> bool:
    if header.strip(_BLANKS) == "*":
        return True
    members = (member.strip(_BLANKS) for member in _LIST_MEMBER.findall(header))
    return any(equal(member, etag) for member in members if is_entity_tag(member))


def _strongly_equal(one: str, other: str) -> bool:
    return one == other and not one.startswith("W/")


def _weakly_equal(one: str, other: str) -> bool:
    return one.removeprefix("W/") == other.removeprefix("W/")
