"""HTTP dates and RFC 3339 times. Internally a time is in nanoseconds since the Unix epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

NANOSECONDS = 10**9
"""Nanoseconds in a second."""

_LAST_CONSTANT = NANOSECONDS  # Nix sets 1 s after the epoch, OSTree and container builds 0
_DOS_EPOCH = 315532800 * NANOSECONDS  # 1980-01-01T00:00:00Z, the first time of ZIP and FAT
_LAST_SECOND = 253402300799  # 9999-12-31T23:59:59Z, the last one of datetime and HTTP dates
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_NAME = "(?:" + "|".join(_DAYS) + ")"
_LONG_DAY_NAME = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_MONTH = "(?P<month>" + "|".join(_MONTHS) + ")"
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
# RFC 9110 §5.6.7: the format to send, and two obsolete formats to accept.
_HTTP_DATES = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        rf"{_DAY_NAME}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT",
        rf"{_LONG_DAY_NAME}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
        rf"{_DAY_NAME} {_MONTH} (?P<day>\d\d| \d) {_TIME} (?P<year>\d{{4}})",
    )
)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_CENTURY = 100
_MAX_YEARS_AHEAD = 50
_LEAP_SECOND = 60
_NANOSECOND_DIGITS = 9


@lru_cache(128)
def format_http_date(seconds: int) -> str:
    """Return the IMF-fixdate (RFC 9110 §5.6.7) of whole seconds since the epoch, independent of the locale."""
    moment = datetime.fromtimestamp(seconds, UTC)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} GMT"


def parse_http_date(text: str, now: float) -> int | None:
    """Return the seconds since the epoch of an HTTP date in any of its three formats, or None.

    `now` (seconds since the epoch) decides the century of a two-digit year: a year more than 50 years ahead is in the
    past (RFC 9110 §5.6.7).
    """
    match = next((m for m in (form.fullmatch(text.strip(" \t")) for form in _HTTP_DATES) if m), None)
    if match is None:
        return None
    year = int(match["year"])
    if len(match["year"]) < len("2026"):
        year = _full_year(year, datetime.fromtimestamp(now, UTC).year)
    return _seconds(
        year,
        _MONTHS.index(match["month"]) + 1,
        *(int(match[part]) for part in ("day", "hour", "minute", "second")),
    )


def _full_year(two_digits: int, this_year: int) -> int:
    year = this_year - this_year % _CENTURY + two_digits
    return year - _CENTURY if year > this_year + _MAX_YEARS_AHEAD else year


def _seconds(*fields: int, zone: timezone = UTC) -> int | None:
    *date_and_time, second = fields
    leap = second == _LEAP_SECOND
    try:
        moment = datetime(*date_and_time, second - leap, tzinfo=zone)  # type: ignore[arg-type,misc]
        return int(moment.timestamp()) + leap
    except (ValueError, OverflowError):
        return None


def parse_rfc3339(text: str) -> int | None:
    """Return the nanoseconds since the epoch of an RFC 3339 timestamp with any offset and fraction, or None.

    Digits of the fraction beyond the ninth are dropped.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    *fields, fraction, sign, hours, minutes = match.groups()
    zone = _zone(sign or "+", int(hours or 0), int(minutes or 0))
    seconds = _seconds(*map(int, fields), zone=zone) if zone else None
    if seconds is None or seconds > _LAST_SECOND:
        return None
    digits = (fraction or "")[:_NANOSECOND_DIGITS].ljust(_NANOSECOND_DIGITS, "0")
    return seconds * NANOSECONDS + int(digits)


def _zone(sign: str, hours: int, minutes: int) -> timezone | None:
    if hours > 23 or minutes > 59:  # noqa: PLR2004 - RFC 3339 §5.6, time-numoffset
        return None
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if sign == "-" else offset)


def format_rfc3339(nanoseconds: int) -> str:
    """Return RFC 3339 in UTC with `Z`, and with a fraction only if it is not 0."""
    seconds, fraction = divmod(nanoseconds, NANOSECONDS)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f".{fraction:09}".rstrip("0").rstrip(".")
    return f"{whole}{digits}Z"


def usable_mtime(nanoseconds: int) -> int | None:
    """Return a file's mtime as a last-modified time.

    None where it says nothing of the content: before the epoch, after the year 9999, and at the constants that build
    systems set (http.md §3).
    """
    if nanoseconds <= _LAST_CONSTANT or nanoseconds == _DOS_EPOCH:
        return None
    return nanoseconds if nanoseconds < (_LAST_SECOND + 1) * NANOSECONDS else None
