"""What the operator hears while a command waits for the store."""

from __future__ import annotations

import attrs

from aero_storage.cli.buckets.wait_notices import WaitNotices


@attrs.define
class Time:
    now: float = 100.0


def test_short_trouble_is_not_told_of() -> None:
    """What passes within two seconds is nobody's concern; what stays is told of, every five seconds."""
    time, said = Time(), list[tuple[float, str]]()
    notices = WaitNotices(lambda text: said.append((time.now, text)), lambda: time.now)
    for seconds in range(14):
        time.now = 100.0 + seconds
        notices(f"failure {seconds}", 0.0)
    assert [(when - 100, text) for when, text in said] == [
        (2, "failure 2"),
        (7, "failure 7"),
        (12, "failure 12"),
    ]


def test_single_failures_far_apart() -> None:
    """Failures with success between them are not one trouble."""
    time, said = Time(), list[str]()
    notices = WaitNotices(said.append, lambda: time.now)
    for _ in range(5):
        time.now += 60
        notices("failure", 0.0)
    assert said == []


def test_a_store_that_hangs_in_an_upload() -> None:
    """Each try of a large content takes long: the first that fails is told of, and those behind it."""
    time, said = Time(), list[float]()
    notices = WaitNotices(lambda _text: said.append(time.now), lambda: time.now)
    for tries in range(1, 4):
        time.now = 100.0 + 22 * tries
        notices("no answer in time", 22.0 * tries)
    assert said == [122.0, 144.0, 166.0]
