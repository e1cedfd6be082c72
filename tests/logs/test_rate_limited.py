"""What may go wrong a thousand times a second, and what the log has of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from aero_storage.logs.rate_limited import RateLimitedEvent


class Log:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def event(self, level: str, message: str, fields: Any = {}) -> None:  # noqa: B006
        self.events.append((level, message, dict(fields)))


def test_at_once_and_then_once_a_minute() -> None:
    """The first is told at once, those of the next minute together, with the fields of the last."""
    log, clock = Log(), Clock()
    complaint = RateLimitedEvent(log, clock, "warn", "it broke")
    for number in range(100):
        complaint.happened({"number": number})
    assert log.events == [("warn", "it broke", {"number": 0, "count": 1})]
    clock.advance(59)
    complaint.happened({"number": 100}, 10)
    assert len(log.events) == 1
    clock.advance(1)
    complaint.happened({"number": 101})
    assert log.events[1:] == [("warn", "it broke", {"number": 101, "count": 110})]


def test_again_after_a_quiet_time() -> None:
    """What comes back after a long time is told at once, too."""
    log, clock = Log(), Clock()
    complaint = RateLimitedEvent(log, clock, "error", "it broke")
    complaint.happened({})
    clock.advance(3600)
    complaint.happened({})
    assert [fields["count"] for _, _, fields in log.events] == [1, 1]
