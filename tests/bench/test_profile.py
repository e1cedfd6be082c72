"""The profile of a request: what py-spy and strace print becomes shares and counts, and a section of a page."""

from __future__ import annotations

import pytest
from bench.loads import ranges
from bench.profile import Function, Profile, SystemCall, parse_calls, parse_stacks, put_section, section

STACKS = """\
run (twistd.py:31);mainLoop (base.py:700);doPoll (epollreactor.py:210) 900
run (twistd.py:31);mainLoop (base.py:700);DirectReads.poll (direct_reads.py:40) 50
run (twistd.py:31);mainLoop (base.py:700);DirectReads.poll (direct_reads.py:48);send (sendfile.py:140) 20
run (twistd.py:31);mainLoop (base.py:701);DirectReads.poll (direct_reads.py:48);send (sendfile.py:144) 10
run (twistd.py:31);mainLoop (base.py:700);runUntilCurrent (base.py:980) 10
_bootstrap (threading.py:1002);wait (threading.py:320) 700
"""
CALLS = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 75.00    0.003000           3      1000           sendto
 25.00    0.001000           1      2000        12 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.004000           1      3000        12 total
"""


def test_a_share_is_of_the_working_samples_of_the_reactors_thread() -> None:
    """Waiting for events, and the samples of other threads, count for nothing; lines of one function are one."""
    functions = parse_stacks(STACKS)
    assert [(one.name, one.own, one.all) for one in functions] == [
        ("send (sendfile.py)", 0.75, 0.75),
        ("runUntilCurrent (base.py)", 0.25, 0.25),
    ]


def test_calls_are_counted_for_each_request() -> None:
    """Rows with errors and without are read alike, the sum is no row."""
    assert parse_calls(CALLS, 1000) == [SystemCall("sendto", 1.0, 0.75), SystemCall("recvfrom", 2.0, 0.25)]


@pytest.mark.parametrize("title", ["Before", "After"])
def test_a_section_takes_the_place_of_the_one_with_its_title(title: str) -> None:
    """Measured again, a section is replaced; the others stay as they were."""
    profile = Profile(20.0, 10.0, [Function("send", 1.0, 1.0)], [SystemCall("sendto", 1.0, 1.0)])
    load = ranges(4096, 16)
    page = put_section(
        put_section("", section("Before", load, profile, ["first"])), section("After", load, profile, [])
    )
    again = put_section(page, section(title, load, profile, ["second"]))
    assert again.count("## ") == page.count("## ") == 2
    assert ("first. 20" in again) is (title == "After")
    assert "second. 20" in again
