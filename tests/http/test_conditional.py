"""Entity tags, dates and the order in which preconditions are evaluated (http.md §3 and §5, RFC 9110 §13)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aero_storage.http.conditional import (
    ConditionResult,
    Preconditions,
    Validators,
    evaluate,
    file_etag,
    if_range_holds,
    is_entity_tag,
)
from aero_storage.http.dates import NANOSECONDS

SECOND = 784111777
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
SAME = "Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
LONG = "Sunday, 06-Nov-94 08:49:37 GMT"
ASCTIME = "Sun Nov  6 08:49:37 1994"
NOW = 1.7e9

STRONG = Validators('"v1"', SECOND * NANOSECONDS + 1)
WEAK = Validators('W/"v1"', SECOND * NANOSECONDS + 1)
COMMA = Validators('"a,b"', None)
DATELESS = Validators('"v1"', None)
EPOCH = Validators('"v1"', 0)

PROCEED, NOT_MODIFIED, FAILED = ConditionResult.PROCEED, ConditionResult.NOT_MODIFIED, ConditionResult.FAILED

IF_MATCH = {
    "same tag": ('"v1"', STRONG, PROCEED),
    "other tag": ('"v2"', STRONG, FAILED),
    "weak against strong": ('W/"v1"', STRONG, FAILED),
    "strong against weak": ('"v1"', WEAK, FAILED),
    "weak against weak": ('W/"v1"', WEAK, FAILED),
    "star": ("*", STRONG, PROCEED),
    "star against weak": ("*", WEAK, PROCEED),
    "star with blanks": (" * ", STRONG, PROCEED),
    "list, last": ('"x", W/"v1", "v1"', STRONG, PROCEED),
    "list, none": ('"x","y"', STRONG, FAILED),
    "comma in quotes": ('"x", "a,b"', COMMA, PROCEED),
    "halves of a tag with a comma": ('"a","b"', COMMA, FAILED),
    "empty": ("", STRONG, FAILED),
    "without quotes": ("v1", STRONG, FAILED),
    "garbage": ('"v1', STRONG, FAILED),
}

IF_NONE_MATCH = {
    "same tag": ('"v1"', STRONG, NOT_MODIFIED),
    "other tag": ('"v2"', STRONG, PROCEED),
    "weak against strong": ('W/"v1"', STRONG, NOT_MODIFIED),
    "strong against weak": ('"v1"', WEAK, NOT_MODIFIED),
    "weak against weak": ('W/"v1"', WEAK, NOT_MODIFIED),
    "star": ("*", STRONG, NOT_MODIFIED),
    "star with blanks": ("\t* ", STRONG, NOT_MODIFIED),
    "list, first": ('"v1", "x"', STRONG, NOT_MODIFIED),
    "list, last": ('"x", "v1"', STRONG, NOT_MODIFIED),
    "list, no blanks": ('"x","v1"', STRONG, NOT_MODIFIED),
    "list, tabs": ('"x"\t,\t"v1"\t', STRONG, NOT_MODIFIED),
    "list, empty members": (', ,"v1",,', STRONG, NOT_MODIFIED),
    "list, bad member": ('v1, "v1"', STRONG, NOT_MODIFIED),
    "list, weak member": ('"x", W/"v1"', STRONG, NOT_MODIFIED),
    "list, none": ('"x", "y"', STRONG, PROCEED),
    "comma in quotes": ('"x", "a,b", "y"', COMMA, NOT_MODIFIED),
    "comma in quotes, alone": ('"a,b"', COMMA, NOT_MODIFIED),
    "halves of a tag with a comma": ('"a","b"', COMMA, PROCEED),
    "tag inside another": ('"x,"v1",y"', STRONG, PROCEED),
    "empty": ("", STRONG, PROCEED),
    "without quotes": ("v1", STRONG, PROCEED),
    "no end quote": ('"v1', STRONG, PROCEED),
    "no start quote": ('v1"', STRONG, PROCEED),
    "single quotes": ("'v1'", STRONG, PROCEED),
    "prefix": ('"v"', STRONG, PROCEED),
    "other case": ('"V1"', STRONG, PROCEED),
    "weak mark in lower case": ('w/"v1"', STRONG, PROCEED),
    "weak mark apart": ('W/ "v1"', STRONG, PROCEED),
    "two tags without a comma": ('"v1" "v1"', STRONG, PROCEED),
    "text after the tag": ('"v1"x', STRONG, PROCEED),
}

DATES = {
    "modified since earlier": (Preconditions(if_modified_since=EARLIER), STRONG, PROCEED),
    "modified since the same second": (Preconditions(if_modified_since=SAME), STRONG, NOT_MODIFIED),
    "modified since later": (Preconditions(if_modified_since=LATER), STRONG, NOT_MODIFIED),
    "modified since, long form": (Preconditions(if_modified_since=LONG, now=NOW), STRONG, NOT_MODIFIED),
    "modified since, asctime": (Preconditions(if_modified_since=ASCTIME), STRONG, NOT_MODIFIED),
    "modified since, unparsable": (Preconditions(if_modified_since="yesterday"), STRONG, PROCEED),
    "modified since, no date": (Preconditions(if_modified_since=LATER), DATELESS, PROCEED),
    "modified since, epoch": (Preconditions(if_modified_since="Thu, 01 Jan 1970 00:00:00 GMT"), EPOCH, NOT_MODIFIED),
    "unmodified since earlier": (Preconditions(if_unmodified_since=EARLIER), STRONG, FAILED),
    "unmodified since the same second": (Preconditions(if_unmodified_since=SAME), STRONG, PROCEED),
    "unmodified since later": (Preconditions(if_unmodified_since=LATER), STRONG, PROCEED),
    "unmodified since, long form": (Preconditions(if_unmodified_since=LONG, now=NOW), STRONG, PROCEED),
    "unmodified since, unparsable": (Preconditions(if_unmodified_since="0"), STRONG, PROCEED),
    "unmodified since, no date": (Preconditions(if_unmodified_since=EARLIER), DATELESS, PROCEED),
    "unmodified since before the epoch": (
        Preconditions(if_unmodified_since="Wed, 31 Dec 1969 23:59:59 GMT"),
        EPOCH,
        FAILED,
    ),
}

ORDER = {
    "nothing asked": (Preconditions(), PROCEED),
    "If-Match holds: If-Unmodified-Since unread": (
        Preconditions(if_match='"v1"', if_unmodified_since=EARLIER),
        PROCEED,
    ),
    "If-Match fails: If-Unmodified-Since unread": (Preconditions(if_match='"x"', if_unmodified_since=LATER), FAILED),
    "If-Match fails before If-None-Match matches": (Preconditions(if_match='"x"', if_none_match='"v1"'), FAILED),
    "If-Match holds, then If-None-Match": (Preconditions(if_match='"v1"', if_none_match='"v1"'), NOT_MODIFIED),
    "If-Unmodified-Since fails before If-None-Match": (
        Preconditions(if_unmodified_since=EARLIER, if_none_match='"v1"'),
        FAILED,
    ),
    "If-None-Match differs: If-Modified-Since unread": (
        Preconditions(if_none_match='"x"', if_modified_since=LATER),
        PROCEED,
    ),
    "If-None-Match broken: If-Modified-Since unread": (
        Preconditions(if_none_match="v1", if_modified_since=LATER),
        PROCEED,
    ),
    "If-None-Match matches: If-Modified-Since unread": (
        Preconditions(if_none_match='"v1"', if_modified_since=EARLIER),
        NOT_MODIFIED,
    ),
    "If-Range plays no part": (Preconditions(if_range='"x"'), PROCEED),
}

RANGE_HOLDS = {
    "absent": (Preconditions(), STRONG),
    "same tag": (Preconditions(if_range='"v1"'), STRONG),
    "same tag, blanks": (Preconditions(if_range=' "v1"\t'), STRONG),
    "tag with a comma": (Preconditions(if_range='"a,b"'), COMMA),
    "same second": (Preconditions(if_range=SAME), STRONG),
    "same second, blanks": (Preconditions(if_range=f" {SAME} "), STRONG),
    "long form": (Preconditions(if_range=LONG, now=NOW), STRONG),
    "asctime": (Preconditions(if_range=ASCTIME), STRONG),
    "epoch": (Preconditions(if_range="Thu, 01 Jan 1970 00:00:00 GMT"), EPOCH),
}

RANGE_FAILS = {
    "other tag": (Preconditions(if_range='"v2"'), STRONG),
    "weak against strong": (Preconditions(if_range='W/"v1"'), STRONG),
    "strong against weak": (Preconditions(if_range='"v1"'), WEAK),
    "weak against weak": (Preconditions(if_range='W/"v1"'), WEAK),
    "earlier second": (Preconditions(if_range=EARLIER), STRONG),
    "later second": (Preconditions(if_range=LATER), STRONG),
    "date, but there is none": (Preconditions(if_range=SAME), DATELESS),
    "unparsable, and there is no date": (Preconditions(if_range="yesterday"), DATELESS),
    "unparsable": (Preconditions(if_range="yesterday"), STRONG),
    "empty": (Preconditions(if_range=""), STRONG),
    "star": (Preconditions(if_range="*"), STRONG),
    "list": (Preconditions(if_range='"v1", "v1"'), STRONG),
    "without quotes": (Preconditions(if_range="v1"), STRONG),
}

ENTITY_TAGS = {
    "usual": '"abc"',
    "empty": '""',
    "weak": 'W/"abc"',
    "weak and empty": 'W/""',
    "comma": '"a,b"',
    "backslash": '"a\\b"',
    "lowest and highest": '"!~"',
    "star": '"*"',
}

NO_ENTITY_TAGS = {
    "nothing": "",
    "no quotes": "abc",
    "one quote": '"',
    "no end": '"abc',
    "no start": 'abc"',
    "lower case w": 'w/"abc"',
    "weak mark twice": 'W/W/"abc"',
    "weak mark alone": "W/",
    "blank after the weak mark": 'W/ "abc"',
    "blank inside": '"a b"',
    "tab inside": '"a\tb"',
    "quote inside": '"a"b"',
    "line feed inside": '"a\nb"',
    "line feed after": '"abc"\n',
    "delete": '"\x7f"',
    "beyond ASCII": '"\u00e9"',
    "blanks around": ' "abc" ',
    "list": '"a","b"',
}

FILE_ETAGS = {
    "all zero": (0, 0, '"0-0-0-6553f100-5-1f"'),
    "one second": (16, NANOSECONDS, '"10-0-0-6553f100-5-1f"'),
    "1980": (16, 315_532_800 * NANOSECONDS, '"10-0-0-6553f100-5-1f"'),
    "after the year 9999": (16, 253402300800 * NANOSECONDS, '"10-0-0-6553f100-5-1f"'),
    "hexadecimal": (255, 16 * NANOSECONDS + 10, '"ff-10-a"'),
    "nanoseconds in full": (20 * 2**30, 1_700_000_000_999_999_999, '"500000000-6553f100-3b9ac9ff"'),
    "before the epoch": (16, -1, '"10-0-0-6553f100-5-1f"'),
    "long before the epoch": (16, -NANOSECONDS * 10**6 - 5, '"10-0-0-6553f100-5-1f"'),
}

OPAQUE = st.text([chr(code) for code in range(0x21, 0x7F) if chr(code) != '"'], max_size=6).map('"{}"'.format)
TAG = st.builds("".join, st.tuples(st.sampled_from(["", "W/"]), OPAQUE))
# Few letters, so that equal tags, commas inside quotes and half-quoted ones are common.
CLOSE_TAG = st.builds('{}"{}"'.format, st.sampled_from(["", "W/"]), st.text("a,*", max_size=2))
SEPARATOR = st.sampled_from([",", ", ", " ,\t", ",,", ", ,"])
GARBAGE = st.text() | st.text('"", aW/*\t', max_size=12)


@st.composite
def listings(draw: st.DrawFn) -> tuple[str, list[str]]:
    tags = draw(st.lists(CLOSE_TAG, min_size=1, max_size=4))
    return "".join(tag + draw(SEPARATOR) for tag in tags), tags


def matches(header: str, etag: str) -> bool:
    return evaluate(Preconditions(if_match=header), Validators(etag, None)) is PROCEED


def none_match(header: str, etag: str) -> bool:
    return evaluate(Preconditions(if_none_match=header), Validators(etag, None)) is NOT_MODIFIED


@pytest.mark.parametrize(("header", "current", "expected"), IF_MATCH.values(), ids=IF_MATCH)
def test_if_match(header: str, current: Validators, expected: ConditionResult) -> None:
    """`If-Match` fails unless it is `*` or lists a tag that is strongly equal."""
    assert evaluate(Preconditions(if_match=header), current) is expected


@pytest.mark.parametrize(("header", "current", "expected"), IF_NONE_MATCH.values(), ids=IF_NONE_MATCH)
def test_if_none_match(header: str, current: Validators, expected: ConditionResult) -> None:
    """`If-None-Match` says not modified if it is `*` or lists a tag that is weakly equal."""
    assert evaluate(Preconditions(if_none_match=header), current) is expected


@pytest.mark.parametrize(("conditions", "current", "expected"), DATES.values(), ids=DATES)
def test_dates(conditions: Preconditions, current: Validators, expected: ConditionResult) -> None:
    """Dates are compared in whole seconds, and one that is missing or unparsable says nothing."""
    assert evaluate(conditions, current) is expected


@pytest.mark.parametrize(("conditions", "expected"), ORDER.values(), ids=ORDER)
def test_order(conditions: Preconditions, expected: ConditionResult) -> None:
    """Preconditions are evaluated in the order of RFC 9110 §13.2.2, and tags outdo dates."""
    assert evaluate(conditions, STRONG) is expected


@pytest.mark.parametrize(("conditions", "current"), RANGE_HOLDS.values(), ids=RANGE_HOLDS)
def test_if_range_holds(conditions: Preconditions, current: Validators) -> None:
    """`Range` may be honoured without `If-Range` and with one that matches exactly."""
    assert if_range_holds(conditions, current, NOW)


@pytest.mark.parametrize(("conditions", "current"), RANGE_FAILS.values(), ids=RANGE_FAILS)
def test_if_range_fails(conditions: Preconditions, current: Validators) -> None:
    """An `If-Range` that is weak, different or unparsable keeps `Range` from being honoured."""
    assert not if_range_holds(conditions, current, NOW)


@pytest.mark.parametrize(
    ("after", "holds"), [(-1.0, False), (0.0, False), (0.999, False), (1.0, True), (1.001, True)]
)
def test_if_range_with_a_young_date(after: float, *, holds: bool) -> None:
    """A date is a strong validator only if it is at least one second before the `Date` of the response."""
    assert if_range_holds(Preconditions(if_range=SAME), STRONG, SECOND + after) is holds


@pytest.mark.parametrize(("now", "shown"), [(SECOND - 0.001, False), (SECOND, True), (SECOND + 1.5, True)])
def test_validators_at_a_date(now: float, *, shown: bool) -> None:
    """A last modification later than `Date` is none; in the same second it is one."""
    assert STRONG.at(now) == (STRONG if shown else Validators('"v1"', None))
    assert DATELESS.at(now) is DATELESS


@pytest.mark.parametrize("text", ENTITY_TAGS.values(), ids=ENTITY_TAGS)
def test_entity_tag(text: str) -> None:
    """A quoted tag of visible ASCII is an entity-tag, weak or strong."""
    assert is_entity_tag(text)


@pytest.mark.parametrize("text", NO_ENTITY_TAGS.values(), ids=NO_ENTITY_TAGS)
def test_no_entity_tag(text: str) -> None:
    """Whatever is not one quoted tag of visible ASCII is no entity-tag."""
    assert not is_entity_tag(text)


@pytest.mark.parametrize(("size", "mtime_ns", "expected"), FILE_ETAGS.values(), ids=FILE_ETAGS)
def test_file_etag(size: int, mtime_ns: int, expected: str) -> None:
    """A tag has size, seconds and nanoseconds in hex; where the mtime says nothing, ctime and inode as well."""
    assert file_etag(size, mtime_ns, 1_700_000_000 * NANOSECONDS + 5, 31) == expected


def test_last_modified_second() -> None:
    """The whole second is the one that the time lies in."""
    times = (None, 0, NANOSECONDS - 1, NANOSECONDS)
    assert [Validators('""', time).last_modified_second for time in times] == [None, 0, 0, 1]


@given(size=st.integers(0, 2**63), mtime_ns=st.integers(-(2**63), 2**63))
def test_file_etag_is_usable(size: int, mtime_ns: int) -> None:
    """A file's tag is an entity-tag that strongly equals itself and not that of another size."""
    tag = file_etag(size, mtime_ns, 0, 7)
    assert is_entity_tag(tag)
    assert matches(tag, tag)
    assert not none_match(file_etag(size + 1, mtime_ns, 0, 7), tag)


@given(mtime_ns=st.integers(-(2**63), 10**9) | st.just(315_532_800 * 10**9), ctime_ns=st.integers(0, 2**62))
def test_constant_mtimes_tell_nothing(mtime_ns: int, ctime_ns: int) -> None:
    """Files of equal size and of an mtime that says nothing differ by their ctime, and by their inode."""
    tag = file_etag(512, mtime_ns, ctime_ns, 7)
    assert len({tag, file_etag(512, mtime_ns, ctime_ns + 1, 7), file_etag(512, mtime_ns, ctime_ns, 8)}) == 3


@given(one=CLOSE_TAG | TAG, other=CLOSE_TAG | TAG)
def test_comparison(one: str, other: str) -> None:
    """Strong comparison wants both strong and equal, weak comparison only equal opaque parts; both are symmetric."""
    strongly = one == other and one.startswith('"')
    weakly = one.removeprefix("W/") == other.removeprefix("W/")
    assert [matches(one, other), matches(other, one)] == [strongly] * 2
    assert [none_match(one, other), none_match(other, one)] == [weakly] * 2
    assert if_range_holds(Preconditions(if_range=one), Validators(other, None), NOW) is strongly


@given(listing=listings(), current=CLOSE_TAG)
def test_lists(listing: tuple[str, list[str]], current: str) -> None:
    """A list matches if and only if one of its tags does, whatever commas the tags hold."""
    header, tags = listing
    assert matches(header, current) is any(matches(tag, current) for tag in tags)
    assert none_match(header, current) is any(none_match(tag, current) for tag in tags)


@settings(max_examples=300)
@given(header=GARBAGE, current=TAG | CLOSE_TAG)
def test_garbage_matches_no_other_tag(header: str, current: str) -> None:
    """A header that does not hold the tag's quoted part never matches it, `*` apart, and none raises."""
    held = current.removeprefix("W/") in header
    expected = {held, False} | ({True} if header.strip(" \t") == "*" else set())
    assert {matches(header, current), none_match(header, current)} <= expected
    assert held or not if_range_holds(Preconditions(if_range=header), Validators(current, None), NOW)


@given(texts=st.tuples(*[st.none() | GARBAGE] * 5), current=TAG, last_modified=st.none() | st.integers(0, 2**62))
def test_arbitrary_headers(
    texts: tuple[str | None, str | None, str | None, str | None, str | None], current: str, last_modified: int | None
) -> None:
    """No header values make the evaluation raise."""
    conditions, validators = Preconditions(*texts, now=NOW), Validators(current, last_modified)
    assert isinstance(evaluate(conditions, validators), ConditionResult)
    assert if_range_holds(conditions, validators, NOW) in (True, False)
