"""Profiles from logs: sessions, the reads that count, shares, and memory."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.profiles.log import EPOCH, VERSION, ask, line, read

from aero_storage.profiles.document import BootProfile, parse_profile
from aero_storage.profiles.learning import LearningRules, learning
from aero_storage.profiles.log_lines import LogReader
from aero_storage.profiles.ranges import ProfileRange

UNIT = 65536
SIZE = 1 << 30
HOUR = 3600


def learn(
    lines: Iterable[bytes], *, size: int = SIZE, rules: LearningRules | None = None, in_memory: int = 1000
) -> BootProfile | None:
    """Return what is learned from lines."""

    def place(path: str, is_told: bool) -> tuple[int, int] | None:  # noqa: FBT001 - of ChunkPlace
        is_known = path == "/v1/images/win98/chunked/a/chunks/00000003.bin" or (
            is_told and "/chunked/chunks/" in path
        )
        return (3 << 22, 1 << 22) if is_known else None

    reader = LogReader("win98", VERSION, place)
    with learning(reader, "boot", size, rules or LearningRules(), in_memory) as learner:
        for one in lines:
            learner.take(one)
        return learner.profile(learner.sessions(), EPOCH)


def ranges(lines: Iterable[bytes]) -> list[tuple[int, int, int, int]] | None:
    """Return the ranges that are learned from lines."""
    profile = learn(lines)
    if profile is None:
        return None
    return [(one.start, one.count, one.milliseconds, one.percent) for one in profile.ranges]


def sessions(lines: Iterable[bytes]) -> int:
    """Return the number of sessions that count."""
    profile = learn(lines)
    return 0 if profile is None else profile.sessions


def test_a_session_is_told_with_its_times_and_its_version() -> None:
    """A profile says of which image, version and sessions it is, and when which unit was read first."""
    profile = learn([read(0, 0), read(1.4, 812 * UNIT, 4 * UNIT), read(2, 813 * UNIT), read(31, 5 * UNIT)])
    assert profile is not None
    assert json.loads(profile.to_json()) == {
        "schema": "aero.profile.v1",
        "image_id": "win98",
        "version": VERSION,
        "name": "boot",
        "unit": UNIT,
        "sessions": 1,
        "recorded": "2026-11-18T11:06:40Z",
        "seconds": 30,
        "bytes": 5 * UNIT,
        "ranges": [[0, 1, 0, 100], [812, 4, 1400, 100]],
    }
    assert parse_profile(profile.to_json(), SIZE) == profile


def test_a_request_begins_before_its_line() -> None:
    """The latency is taken off the time of the line."""
    assert ranges([read(0, 0, latency=5), read(1, 9 * UNIT, latency=0.25)]) == [(0, 1, 0, 100), (9, 1, 1000, 100)]


@pytest.mark.parametrize(
    "other",
    [
        read(1, 9 * UNIT, method="HEAD"),
        read(1, 9 * UNIT, status=304, bytes_sent=0),
        read(1, 9 * UNIT, bytes_sent=0),
        read(1, 9 * UNIT, version="v-of-another"),
        read(1, 9 * UNIT, version=None),
        read(1, 9 * UNIT, image_id="win99"),
        read(1, 9 * UNIT, client="192.0.2.2"),
        read(1, 9 * UNIT, message="request began"),
        line(1, status=200, bytes_sent=SIZE),
        read(30, 9 * UNIT),
    ],
)
def test_reads_that_do_not_count(other: bytes) -> None:
    """Only GETs with 206, or 200 of chunks, of the same version and reader, in the first seconds, count."""
    assert ranges([read(0, 0), other]) == [(0, 1, 0, 100)]


@pytest.mark.parametrize(
    "other",
    [
        read(1, 9 * UNIT, outcome="disconnected"),
        read(1, 9 * UNIT, status=200, route="/v1/images/:image_id/chunked/chunks/:chunk_name"),
        read(29.999, 9 * UNIT),
        read(1, 9 * UNIT, 20 * UNIT, bytes_sent=1),
        read(1, 10 * UNIT - 1, 1),
    ],
)
def test_reads_that_count(other: bytes) -> None:
    """Bytes count as far as they were sent, of ranges and of chunks; one byte touches its unit."""
    assert [one[:2] for one in ranges([read(0, 0), other]) or ()] == [(0, 1), (9, 1)]


def test_a_chunk_whose_line_has_no_range_lies_where_its_name_says() -> None:
    """The line of a published chunk may tell nothing but its name."""
    path = "/v1/images/win98/chunked/a/chunks/00000003.bin"
    route = "/v1/images/:image_id/chunked/:version/chunks/:chunk_name"
    chunk = line(1, status=200, path=path, route=route, version=None, bytes_sent=1 << 22)
    assert ranges([read(0, 0), chunk]) == [(0, 1, 0, 100), (192, 64, 1000, 100)]
    unknown = line(1, status=200, path=path.replace("3.bin", "4.bin"), route=route, version=None, bytes_sent=1 << 22)
    assert ranges([read(0, 0), unknown]) == [(0, 1, 0, 100)]
    path, route = "/v1/images/win98/chunked/chunks/00000003.bin", "/v1/images/:image_id/chunked/chunks/:chunk_name"
    told = line(1, status=200, path=path, route=route, bytes_sent=1 << 22)
    assert ranges([read(0, 0), told]) == [(0, 1, 0, 100), (192, 64, 1000, 100)]
    untold = line(1, status=200, path=path, route=route, version=None, bytes_sent=1 << 22)
    assert ranges([read(0, 0), untold]) == [(0, 1, 0, 100)]


def test_where_sessions_begin() -> None:
    """With byte 0 after ten quiet minutes, or a minute or more after byte 0 was read last."""
    assert sessions([read(0, 0)]) == 1
    assert sessions([read(0, UNIT)]) == 0
    assert sessions([read(0, UNIT), read(5, 0)]) == 0
    assert sessions([read(0, UNIT), read(5, 0), read(65, 0)]) == 1
    assert sessions([read(0, UNIT), read(599.999, 0)]) == 0
    assert sessions([read(0, UNIT), read(600, 0)]) == 1
    assert sessions([read(0, 0), read(59.999, 0)]) == 1
    assert sessions([read(0, 0), read(60, 0)]) == 2
    assert sessions([read(0, 0), read(50, 0), read(100, 0), read(150, 0)]) == 1


def test_who_a_reader_is() -> None:
    """A lease goes before a user, a user before a client."""
    lines = [
        read(0, 0, client="192.0.2.1", user_id="ada", lease="a"),
        read(1, UNIT * 2, client="192.0.2.2", user_id="ada", lease="a"),
        read(1, UNIT * 4, client="192.0.2.1", user_id="ada", lease="b"),
        read(1, UNIT * 6, client="192.0.2.1", user_id="ada"),
        read(1, UNIT * 8, client="192.0.2.1"),
    ]
    assert [one[0] for one in ranges(lines) or ()] == [0, 2]


def test_a_unit_goes_in_if_half_of_the_sessions_read_it() -> None:
    """Shares are of all sessions, rounded down; the time is the median of those that read it."""
    lines = []
    for number, client in enumerate(("a", "b", "c", "d", "e", "f")):
        lines.append(read(number * HOUR, 0, client=client))
        if number < 3:
            lines.append(read(number * HOUR + 1 + number, 10 * UNIT, client=client))
        if number < 2:
            lines.append(read(number * HOUR + 1, 20 * UNIT, client=client))
        if number < 4:
            lines.append(read(number * HOUR + number, 30 * UNIT, client=client))
    assert ranges(lines) == [(0, 1, 0, 100), (30, 1, 1500, 66), (10, 1, 2000, 50)]


@pytest.mark.parametrize(
    ("asked", "counted"),
    [
        (ask(-60), 0),
        (ask(-61), 1),
        (ask(0), 0),
        (ask(5), 0),
        (ask(5, 304), 0),
        (ask(5, method="HEAD"), 0),
        (ask(5, version=None), 0),
        (ask(5, 404), 1),
        (ask(5, version="v-of-another"), 1),
        (ask(5, client="192.0.2.2"), 1),
        (ask(5, image_id="other"), 1),
        (ask(5 + 600), 1),
    ],
)
def test_a_session_with_the_profile_counts_for_nothing(asked: bytes, counted: int) -> None:
    """From a minute before its begin on, a request for the profile takes a session out."""
    assert sessions([asked, read(0, 0), read(5, UNIT)]) == counted
    assert sessions([read(5, UNIT), read(0, 0), asked]) == counted


def test_a_session_with_the_profile_leaves_the_one_before_and_the_one_after() -> None:
    """A request in the minute before a session belongs to that one alone."""
    lines = [read(0, 0), ask(240), read(300, 0), read(301, UNIT * 9), read(600, 0)]
    assert sessions(lines) == 2
    assert ranges(lines) == [(0, 1, 0, 100)]


def test_a_session_that_ends_soon_is_with_the_profile_that_it_fetched() -> None:
    """Also where the next one begins within two minutes: a request in the seconds that count is of their session."""
    assert sessions([read(0, 0), ask(0.05), read(5, UNIT), read(61, 0), ask(61.05)]) == 0
    assert sessions([read(0, 0), ask(29.999), read(80, 0)]) == 0
    assert sessions([read(0, 0), ask(30), read(80, 0)]) == 1
    assert sessions([read(0, 0), ask(5), read(100, 0)]) == 1


def test_lines_of_several_logs_in_any_order_are_as_one_log() -> None:
    """What memory does not hold is sorted in temporary files."""
    lines = [read(number * HOUR + second, second * 3 * UNIT) for number in range(30) for second in range(10)]
    assert learn(reversed(lines), in_memory=7) == learn(lines, in_memory=10**6)
    assert sessions(lines) == 30


def test_what_loggers_write_before_a_line_does_not_matter() -> None:
    """Container runtimes and journals put time, stream or host before each line."""
    assert ranges([b"2026-11-18T11:06:40.1Z stdout F " + read(0, 0), read(1, UNIT * 3) + b"\r"]) == [
        (0, 1, 0, 100),
        (3, 1, 1000, 100),
    ]


def test_lines_that_other_programs_have_rewritten() -> None:
    """The order of fields, further ones, the form of numbers, and a line around the line do not matter."""
    own = {"range": "589824-593919", "bytes_sent": 4096.0, "status": 206.0, "latency_seconds": 0}
    changed = json.loads(read(1, 9 * UNIT)) | own
    for other in (
        json.dumps(dict(reversed(changed.items())), indent=None, separators=(" ,", " : ")).encode(),
        json.dumps({"host": {"ip": ["win98"]}} | changed).encode(),
        b'host {web-1}: {"x": "\xff\xfe", ' + json.dumps(changed).encode()[1:],
        json.dumps({"log": json.dumps(changed) + "\n", "stream": "stderr"}).encode(),
        json.dumps({"MESSAGE": json.dumps(changed), "_PID": "12"}).encode(),
        json.dumps({"message": json.dumps(changed), "@timestamp": "2026-11-18T11:06:40Z"}).encode(),
    ):
        assert ranges([read(0, 0), other]) == [(0, 1, 0, 100), (9, 1, 1000, 100)], other


def test_malformed_lines_are_counted() -> None:
    """A line that is none of a request log is told of, and does not end the work."""
    with learning(LogReader("win98", VERSION), "boot", SIZE, LearningRules()) as learner:
        for one in (
            b"no JSON win98",
            b"",
            b'{"win98"',
            b"{win98}",
            b"[" * 70_000,
            b'{"a":' * 9000 + b"1" + b"}" * 9000 + b'"win98"}',
            read(0, 0, timestamp="yesterday"),
            read(0, 0, latency_seconds=math.inf),
            read(0, 0, latency_seconds="1"),
            read(0, 0, bytes_sent="1"),
            read(0, 0, bytes_sent=True),
            read(0, 0, range="5-1"),
            read(0, 0, status=None),
            read(0, 0, client=None),
            read(0, 0, bytes_sent=0.5),
            read(0, 0, status=math.inf),
            b'{"log": "{\\ud800win98"}',
            b'{"message": "settings"}',
            b'{"log": "win98"}',
            read(0, 0),
        ):
            learner.take(one)
        assert (learner.lines, learner.malformed, learner.reads) == (20, 16, 1)


Event = tuple[int, str, int, int]
_events = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 29, 30, 31, 59, 60, 61, 120, 599, 600, 601, 1300, 1330, 1360, 2000]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([-1, 0, 0, 1, 2, 3, 5, 8, 9]),
        st.integers(1, 3),
    ),
    max_size=40,
)


@given(_events, st.integers(2, 20))
def test_learning_is_as_a_naive_model(events: list[Event], in_memory: int) -> None:
    """Sessions, units, medians and shares are those of a model that holds all in memory."""
    lines = [
        ask(time, client=client) if unit < 0 else read(time, unit * UNIT, count * UNIT, client=client)
        for time, client, unit, count in events
    ]
    profile = learn(lines, in_memory=in_memory)
    found = None if profile is None else (profile.sessions, profile.ranges)
    assert found == _naive(events)


def _naive(events: list[Event]) -> tuple[int, tuple[ProfileRange, ...]] | None:
    counted = [one for client in "abc" for one in _naive_sessions(sorted(e for e in events if e[1] == client))]
    if not counted:
        return None
    units = sorted({unit for one in counted for unit in one})
    found: list[list[int]] = []
    for unit in units:
        times = [one[unit] for one in counted if unit in one]
        if 2 * len(times) < len(counted):
            continue
        milliseconds, percent = math.floor(statistics.median(times)), 100 * len(times) // len(counted)
        if found and found[-1][0] + found[-1][1] == unit:
            last = found[-1]
            found[-1] = [last[0], last[1] + 1, min(last[2], milliseconds), min(last[3], percent)]
        else:
            found.append([unit, 1, milliseconds, percent])
    return len(counted), tuple(ProfileRange(*row) for row in sorted(found, key=lambda row: (row[2], row[0])))


def _naive_sessions(events: list[Event]) -> list[dict[int, int]]:
    reads = [one for one in events if one[2] >= 0]
    asks = [one[0] for one in events if one[2] < 0]
    begins: list[int] = []
    for number, (time, _, unit, _) in enumerate(reads):
        before = [one[0] for one in reads[:number]]
        zeros = [one[0] for one in reads[:number] if one[2] == 0]
        if unit == 0 and (not before or time - before[-1] >= 600 or (zeros and time - zeros[-1] >= 60)):
            begins.append(time)
    found: list[dict[int, int]] = []
    for begin, after in pairwise([*begins, 10**9]):
        own = [one[0] for one in reads if begin <= one[0] < after]
        quiet = next((a + 600 for a, b in pairwise([*own, 10**9]) if b - a >= 600))
        if any(
            begin - 60 <= asked <= begin or begin < asked < min(quiet, max(after - 60, begin + 30)) for asked in asks
        ):
            continue
        units: dict[int, int] = {}
        for time, _, unit, count in reads:
            if begin <= time < min(after, begin + 30):
                for one in range(unit, unit + count):
                    units.setdefault(one, (time - begin) * 1000)
        found.append(units)
    return found
