"""Times as HTTP and RFC 3339 write them (http.md §3 to §5, RFC 9110 §5.6.7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.http.dates import (
    NANOSECONDS,
    format_http_date,
    format_rfc3339,
    parse_http_date,
    parse_rfc3339,
    usable_mtime,
)

SECOND = 784111777  # the example of RFC 9110 §5.6.7
LAST_SECOND = 253402300799
NOW = 1.7e9  # November 2023
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

HTTP_DATES = {
    "IMF-fixdate": ("Sun, 06 Nov 1994 08:49:37 GMT", SECOND),
    "RFC 850": ("Sunday, 06-Nov-94 08:49:37 GMT", SECOND),
    "asctime": ("Sun Nov  6 08:49:37 1994", SECOND),
    "asctime, two digits": ("Wed Nov 16 08:49:37 1994", SECOND + 10 * 86400),
    "blanks around": (" \tSun, 06 Nov 1994 08:49:37 GMT ", SECOND),
    "epoch": ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    "before the epoch": ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
    "leap day": ("Tue, 29 Feb 2000 00:00:00 GMT", 951782400),
    "leap second": ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800),
    "last second": ("Fri, 31 Dec 9999 23:59:59 GMT", LAST_SECOND),
    "first year": ("Mon, 01 Jan 0001 00:00:00 GMT", -62135596800),
}

NO_HTTP_DATES = {
    "empty": "",
    "word": "yesterday",
    "number": "784111777",
    "RFC 3339": "1994-11-06T08:49:37Z",
    "other zone": "Sun, 06 Nov 1994 08:49:37 UTC",
    "offset": "Sun, 06 Nov 1994 08:49:37 +0000",
    "no zone": "Sun, 06 Nov 1994 08:49:37",
    "one digit day": "Sun, 6 Nov 1994 08:49:37 GMT",
    "no weekday": "06 Nov 1994 08:49:37 GMT",
    "other weekday": "Foo, 06 Nov 1994 08:49:37 GMT",
    "long weekday in the short form": "Sunday, 06 Nov 1994 08:49:37 GMT",
    "two-digit year in the short form": "Sun, 06 Nov 94 08:49:37 GMT",
    "month in full": "Sun, 06 November 1994 08:49:37 GMT",
    "month in another language": "Sun, 06 Okt 1994 08:49:37 GMT",
    "no such day": "Wed, 30 Feb 2000 00:00:00 GMT",
    "no leap year": "Wed, 29 Feb 2023 00:00:00 GMT",
    "day zero": "Sun, 00 Nov 1994 08:49:37 GMT",
    "hour 24": "Sun, 06 Nov 1994 24:00:00 GMT",
    "minute 60": "Sun, 06 Nov 1994 08:60:00 GMT",
    "second 61": "Sun, 06 Nov 1994 08:49:61 GMT",
    "year zero": "Sun, 06 Nov 0000 08:49:37 GMT",
    "text after": "Sun, 06 Nov 1994 08:49:37 GMT; length=5",
    "line feed after": "Sun, 06 Nov 1994 08:49:37 GMT\n",
    "other digits": "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT",
}

CENTURIES = {
    "this century": ("23", "2023-11-14", 2023),
    "the past": ("94", "2023-11-14", 1994),
    "a little ahead": ("30", "2023-11-14", 2030),
    "49 years ahead": ("72", "2023-11-14", 2072),
    "51 years ahead": ("74", "2023-11-14", 1974),
    "early in a century": ("99", "2001-01-01", 1999),
}

RFC3339 = {
    "UTC": ("2026-01-10T00:00:00Z", 1768003200 * NANOSECONDS),
    "epoch": ("1970-01-01T00:00:00Z", 0),
    "lower case": ("2026-01-10t00:00:00z", 1768003200 * NANOSECONDS),
    "offset ahead": ("2026-01-10T01:30:00+01:30", 1768003200 * NANOSECONDS),
    "offset behind": ("2026-01-09T19:00:00-05:00", 1768003200 * NANOSECONDS),
    "offset of zero": ("2026-01-10T00:00:00+00:00", 1768003200 * NANOSECONDS),
    "unknown offset": ("2026-01-10T00:00:00-00:00", 1768003200 * NANOSECONDS),
    "largest offset": ("1970-01-01T23:59:00+23:59", 0),
    "a tenth": ("1970-01-01T00:00:00.1Z", 100_000_000),
    "a nanosecond": ("1970-01-01T00:00:00.000000001Z", 1),
    "more digits than nanoseconds": ("1970-01-01T00:00:00.1234567899Z", 123_456_789),
    "fraction and offset": ("1970-01-01T01:00:00.5+01:00", 500_000_000),
    "before the epoch": ("1969-12-31T23:59:59Z", -NANOSECONDS),
    "half a second before the epoch": ("1969-12-31T23:59:59.5Z", -NANOSECONDS // 2),
    "leap day": ("2000-02-29T00:00:00Z", 951782400 * NANOSECONDS),
    "leap second": ("2016-12-31T23:59:60Z", 1483228800 * NANOSECONDS),
    "last second": ("9999-12-31T23:59:59Z", LAST_SECOND * NANOSECONDS),
}

NO_RFC3339 = {
    "empty": "",
    "date alone": "2026-01-10",
    "no zone": "2026-01-10T00:00:00",
    "no seconds": "2026-01-10T00:00Z",
    "basic form": "20260110T000000Z",
    "no such day": "2026-02-30T00:00:00Z",
    "month 13": "2026-13-01T00:00:00Z",
    "hour 24": "2026-01-10T24:00:00Z",
    "minute 60": "2026-01-10T00:60:00Z",
    "second 61": "2026-01-10T00:00:61Z",
    "offset hour 24": "2026-01-10T00:00:00+24:00",
    "offset minute 60": "2026-01-10T00:00:00+00:60",
    "offset without colon": "2026-01-10T00:00:00+0100",
    "fraction without digits": "2026-01-10T00:00:00.Z",
    "fraction with a comma": "2026-01-10T00:00:00,5Z",
    "HTTP date": "Sun, 06 Nov 1994 08:49:37 GMT",
    "past the last second": "9999-12-31T23:59:59-00:01",
    "year zero": "0000-01-01T00:00:00Z",
    "blank before": " 2026-01-10T00:00:00Z",
    "line feed after": "2026-01-10T00:00:00Z\n",
    "other digits": "\u0662026-01-10T00:00:00Z",
}

WRITTEN_RFC3339 = {
    "epoch": (0, "1970-01-01T00:00:00Z"),
    "whole second": (1768003200 * NANOSECONDS, "2026-01-10T00:00:00Z"),
    "a tenth": (100_000_000, "1970-01-01T00:00:00.1Z"),
    "a nanosecond": (1, "1970-01-01T00:00:00.000000001Z"),
    "ten seconds": (10 * NANOSECONDS, "1970-01-01T00:00:10Z"),
    "last nanosecond": (LAST_SECOND * NANOSECONDS + 999_999_999, "9999-12-31T23:59:59.999999999Z"),
}

MTIMES = {
    "epoch": (0, None),
    "one second, as Nix sets it": (NANOSECONDS, None),
    "after that": (NANOSECONDS + 1, NANOSECONDS + 1),
    "1980, as ZIP begins": (315_532_800 * NANOSECONDS, None),
    "a nanosecond before 1980": (315_532_800 * NANOSECONDS - 1, 315_532_800 * NANOSECONDS - 1),
    "a nanosecond into 1980": (315_532_800 * NANOSECONDS + 1, 315_532_800 * NANOSECONDS + 1),
    "last nanosecond": ((LAST_SECOND + 1) * NANOSECONDS - 1, (LAST_SECOND + 1) * NANOSECONDS - 1),
    "before the epoch": (-1, None),
    "beyond what dates can write": ((LAST_SECOND + 1) * NANOSECONDS, None),
}

SECONDS = st.integers(0, LAST_SECOND)
CLOSE = st.text("SunMayT, :-.0123456789GMTZz+", max_size=32)


@pytest.mark.parametrize(("text", "expected"), HTTP_DATES.values(), ids=HTTP_DATES)
def test_http_date(text: str, expected: int) -> None:
    """All three forms of an HTTP date are understood."""
    assert parse_http_date(text, NOW) == expected


@pytest.mark.parametrize("text", NO_HTTP_DATES.values(), ids=NO_HTTP_DATES)
def test_no_http_date(text: str) -> None:
    """Whatever is none of the three forms, or no such time, is no date."""
    assert parse_http_date(text, NOW) is None


@pytest.mark.parametrize(("digits", "today", "year"), CENTURIES.values(), ids=CENTURIES)
def test_century(digits: str, today: str, year: int) -> None:
    """A two-digit year that would lie more than 50 years ahead lies in the past."""
    now = datetime.fromisoformat(today).replace(tzinfo=UTC).timestamp()
    expected = datetime(year, 6, 1, tzinfo=UTC).timestamp()
    assert parse_http_date(f"Monday, 01-Jun-{digits} 00:00:00 GMT", now) == expected


@pytest.mark.parametrize(("text", "expected"), RFC3339.values(), ids=RFC3339)
def test_rfc3339(text: str, expected: int) -> None:
    """An RFC 3339 time is understood to the nanosecond, offsets and fractions too."""
    assert parse_rfc3339(text) == expected


@pytest.mark.parametrize("text", NO_RFC3339.values(), ids=NO_RFC3339)
def test_no_rfc3339(text: str) -> None:
    """Whatever is not RFC 3339, or no such time, is no time."""
    assert parse_rfc3339(text) is None


@pytest.mark.parametrize(("nanoseconds", "expected"), WRITTEN_RFC3339.values(), ids=WRITTEN_RFC3339)
def test_written_rfc3339(nanoseconds: int, expected: str) -> None:
    """Times are written in UTC with `Z`, with a fraction only if there is one."""
    assert format_rfc3339(nanoseconds) == expected


@pytest.mark.parametrize(("nanoseconds", "expected"), MTIMES.values(), ids=MTIMES)
def test_usable_mtime(nanoseconds: int, expected: int | None) -> None:
    """An mtime before the epoch, one that no date can write, and a constant of a build system count as none."""
    assert usable_mtime(nanoseconds) == expected


@given(seconds=SECONDS)
def test_http_date_round_trip(seconds: int) -> None:
    """An HTTP date is written as the standard library writes it, and read back as the same second."""
    text = format_http_date(seconds)
    assert text == formatdate(seconds, usegmt=True)
    assert parse_http_date(text, NOW) == seconds


@given(seconds=SECONDS)
def test_asctime_round_trip(seconds: int) -> None:
    """The asctime form is read as the second it was written from."""
    assert parse_http_date(datetime.fromtimestamp(seconds, UTC).ctime(), NOW) == seconds


@given(now=st.integers(10**9, 4 * 10**9), ahead=st.integers(-49 * 365 * 86400, 49 * 365 * 86400))
def test_two_digit_year_round_trip(now: int, ahead: int) -> None:
    """A two-digit year of the current century that is not far ahead is read as the second it was written from."""
    moment = datetime.fromtimestamp(now + ahead, UTC)
    day = DAYS[moment.weekday()]
    month = format_http_date(now + ahead)[8:11]
    text = f"{day}, {moment.day:02}-{month}-{moment.year % 100:02} {moment:%H:%M:%S} GMT"
    if moment.year // 100 == datetime.fromtimestamp(now, UTC).year // 100:
        assert parse_http_date(text, now) == now + ahead


@given(nanoseconds=st.integers(0, (LAST_SECOND + 1) * NANOSECONDS - 1))
def test_rfc3339_round_trip(nanoseconds: int) -> None:
    """A time written as RFC 3339 is read back to the nanosecond."""
    assert parse_rfc3339(format_rfc3339(nanoseconds)) == nanoseconds


@given(seconds=st.integers(0, LAST_SECOND - 86400), minutes=st.integers(-1439, 1439), micros=st.integers(0, 999_999))
def test_rfc3339_offsets(seconds: int, minutes: int, micros: int) -> None:
    """A time is the same whatever offset the standard library writes it with."""
    moment = datetime.fromtimestamp(seconds, timezone(timedelta(minutes=minutes))).replace(microsecond=micros)
    assert parse_rfc3339(moment.isoformat()) == seconds * NANOSECONDS + micros * 1000


@given(text=st.text() | CLOSE)
def test_arbitrary_text(text: str) -> None:
    """No text makes a parser raise."""
    assert isinstance(parse_http_date(text, NOW), int | None)
    assert isinstance(parse_rfc3339(text), int | None)


@given(
    fields=st.tuples(*[st.integers(0, 99)] * 6), sign=st.sampled_from("+-"), zone=st.tuples(*[st.integers(0, 99)] * 2)
)
def test_arbitrary_numbers(fields: tuple[int, ...], sign: str, zone: tuple[int, int]) -> None:
    """No numbers in the right shape make a parser raise."""
    year, month, day, *time = (f"{field:02}" for field in fields)
    clock, offset = ":".join(time), ":".join(f"{part:02}" for part in zone)
    for century in ("00", "19", "99"):
        parsed = parse_rfc3339(f"{century}{year}-{month}-{day}T{clock}{sign}{offset}")
        assert parsed is None or parsed < (LAST_SECOND + 1) * NANOSECONDS
        assert isinstance(parse_http_date(f"Mon, {day} Jan {century}{year} {clock} GMT", NOW), int | None)
    assert isinstance(parse_http_date(f"Monday, {day}-Jan-{year} {clock} GMT", NOW), int | None)
