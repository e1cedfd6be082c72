"""Images that come, are replaced and go while they are served, and what may be seen of them at which moment."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import attrs
from tests.blackbox.harness import SHOWS_WITHIN

from torture.image_content import PERIOD, Content
from torture.outcome import MIB

NAMES = tuple(f"changing-{number}" for number in range(6))
_SIZES = (4096, 64 * 1024, MIB + 1, 4 * MIB)
_REMEMBERED = 64
"""Changes of one name: far more than come within the time of a request."""


@attrs.frozen
class Version:
    """What one file holds: the bytes of a content from `shift` on."""

    etag: str
    size: int
    shift: int

    def part(self, content: Content, offset: int, length: int) -> bytes:
        """Bytes of it."""
        return content.part(offset + self.shift, length)


@attrs.define(eq=False)
class _Period:
    version: Version | None
    """None: no file of that name."""
    begins: float
    ends: float = float("inf")


@attrs.define(eq=False)
class ChangingImages:
    """A few images in the root, changed as an operator does it: by rename."""

    root: Path
    content: Content
    _periods: dict[str, deque[_Period]] = attrs.field(init=False)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        """No image is there yet."""
        self._periods = {name: deque([_Period(None, 0.0)], _REMEMBERED) for name in NAMES}

    def change(self, rng: random.Random) -> None:
        """Add or replace an image, or remove it."""
        name = rng.choice(NAMES)
        if self.now(name) is not None and rng.random() < 0.3:
            self._follow(name, None, (self.root / name).unlink)
            return
        fresh, size, shift = self.root / f".{name}", rng.choice(_SIZES), rng.randrange(PERIOD)
        fresh.write_bytes(self.content.part(shift, size))
        nanos = fresh.stat().st_mtime_ns
        etag = f'"{size:x}-{nanos // 10**9:x}-{nanos % 10**9:x}"'
        self._follow(name, Version(etag, size, shift), lambda: fresh.replace(self.root / name))

    def _follow(self, name: str, version: Version | None, deed: Callable[[], object]) -> None:
        periods, period = self._periods[name], _Period(version, time.monotonic())
        with self._lock:
            periods.append(period)  # before the deed: nobody sees what is not in the book
        deed()
        with self._lock:
            periods[-2].ends = time.monotonic()

    def now(self, name: str) -> Version | None:
        """What lies there, for who changes it."""
        with self._lock:
            return self._periods[name][-1].version

    def since(self, name: str, moment: float) -> list[Version | None]:
        """All that may have been seen of an image since a moment, with the time that a change may take to show."""
        with self._lock:
            return [period.version for period in self._periods[name] if period.ends + SHOWS_WITHIN >= moment]

    def removed_since(self, moment: float) -> bool:
        """Whether the daemon may still miss an image that was removed: it is not ready then."""
        with self._lock:
            periods = [period for periods in self._periods.values() for period in periods if period.version is None]
            return any(period.begins + SHOWS_WITHIN >= moment for period in periods)
