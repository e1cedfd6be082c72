"""Readers of an image in a bucket: how each response ended is noted, and every byte compared, of cut bodies too."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs
from tests.blackbox.raw_http import NoReplyError, RawConnection, Reply, head

from torture.image_content import PERIOD, Content
from torture.outcome import LiveResult, percentile

SERVED, CUT, LOST = "served", "cut", "lost"
"""Ends of a request, beside the statuses that refuse it: a body whole; a body that a reset ended; no response."""

PATIENCE = 20.0
_PAUSE = 0.002
_SHIFT = PERIOD // 2
"""What one version of an image holds at an offset, the other one holds so much further on."""

_MOST_WRONGS = 10


@attrs.frozen
class Version:
    """One content of the image, and the tag under which the daemon has to serve it."""

    content: Content
    shift: int = 0

    @property
    def data(self) -> bytes:
        """All its bytes, 8 MiB at most."""
        return self.content.part(self.shift, self.content.size)

    def tag_of(self, stored_tag: str) -> str:
        """Return the daemon's tag for an object that the store has under this one (http.md §11)."""
        return f'"{self.content.size:x}-{hashlib.sha256(stored_tag.encode("ascii")).hexdigest()[:32]}"'

    @property
    def tag_of_digest(self) -> str:
        """The daemon's tag once the catalog has the digest of the image (http.md §16)."""
        return f'"sha256-{hashlib.sha256(self.data).hexdigest()}"'

    def is_right(self, body: bytes, offset: int) -> bool:
        """Whether bytes from an offset on are those of this version."""
        return body == self.content.part(self.shift + offset, len(body))


def two_versions(size: int) -> tuple[Version, Version]:
    """Return two contents of the same size that differ everywhere."""
    return Version(Content(size)), Version(Content(size), _SHIFT)


@attrs.define(eq=False)
class Sightings:
    """What all readers saw so far."""

    ends: Counter[str] = attrs.field(factory=Counter)
    wrongs: list[str] = attrs.field(factory=list)
    """What no fault of a store excuses."""
    took: list[float] = attrs.field(factory=list)
    """Seconds that whole responses took."""
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def saw(self, end: str, seconds: float = 0.0) -> None:
        """Note how a request ended."""
        with self._lock:
            self.ends[end] += 1
            if end == SERVED:
                self.took.append(seconds)

    def wrong(self, text: str) -> None:
        """Note what must never be."""
        with self._lock:
            if len(self.wrongs) < _MOST_WRONGS:
                self.wrongs.append(text)

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {end}" for end, count in sorted(self.ends.items())) or "nothing"


def live_result(seen: Sequence[Sightings]) -> LiveResult:
    """Sum up for the report; wrong bytes are among the complaints."""
    took = [seconds for one in seen for seconds in one.took]
    return LiveResult(len(took), 0, (), percentile(took, 0.99), max(took, default=0.0), percentile(took, 0.5))


@attrs.define(eq=False)
class Readers:
    """Clients that read an image at random, a part or all of it, each time over a connection of their own."""

    ports: Sequence[int]
    versions: dict[str, Version]
    """By the tags that may be shown."""
    path: str
    size: int
    longest: int
    seen: Sightings = attrs.field(factory=Sightings)
    _over: threading.Event = attrs.field(factory=threading.Event)

    @contextmanager
    def reading(self, count: int) -> Iterator[Readers]:
        """Read by so many clients for the length of a with block."""
        threads = [threading.Thread(target=self._run, args=(seed,), daemon=True) for seed in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in threads:
                thread.join(2 * PATIENCE)

    def count_from_now(self) -> Sightings:
        """Return what is seen from now on; what is under way counts as well."""
        self.seen = Sightings()
        return self.seen

    def wait_until_served(self, count: int, seconds: float) -> bool:
        """Wait for so many whole responses in a row, of new requests; return whether they came in time."""
        deadline, wrongs = time.monotonic() + seconds, list[str]()
        while time.monotonic() < deadline:
            seen = self.seen = Sightings(wrongs=wrongs)  # no row, but a wrong byte counts in every one
            while time.monotonic() < deadline and set(seen.ends) <= {SERVED}:
                if seen.ends[SERVED] >= count:
                    return True
                time.sleep(_PAUSE)
        return False

    def _run(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self._over.wait(_PAUSE):
            self.read(rng)

    def read(self, rng: random.Random) -> None:
        """Make one request."""
        offset = rng.randrange(self.size)
        length = min(rng.choice((1, 4096, 65_536, self.longest)), self.size - offset)
        seen, start = self.seen, time.monotonic()
        try:
            with RawConnection.dial(rng.choice(self.ports)) as conn:
                conn.send(head("GET", self.path, {"Range": f"bytes={offset}-{offset + length - 1}"}))
                self._note(seen, conn.reply(patience=PATIENCE), offset, start)
        except NoReplyError as error:
            if "nothing more in time" in str(error):
                seen.wrong(f"{length} bytes at {offset}: not answered, nor cut off, within {PATIENCE:g} s")
            seen.saw(LOST)
        except OSError:
            seen.saw(LOST)

    def _note(self, seen: Sightings, reply: Reply, offset: int, start: float) -> None:
        if reply.status != 206:
            seen.saw(str(reply.status))
            if reply.status == 503 and reply.get("Retry-After") is None:
                seen.wrong("a 503 without Retry-After")
            return
        version = self.versions.get(reply["ETag"])
        if version is None:
            seen.wrong(f"a tag of no version: {reply['ETag']}")
        elif not version.is_right(reply.body, offset):
            seen.wrong(f"wrong bytes among {len(reply.body)} at {offset} under {reply['ETag']}")
        if reply.ending == "eof":
            seen.wrong(f"a body at {offset} ended cleanly after {len(reply.body)} of {reply.length} bytes")
        seen.saw(SERVED if reply.ending == "whole" else CUT, time.monotonic() - start)


def seen_until(holds: Callable[[], object], seconds: float) -> bool:
    """Wait for something to be seen; return whether it came in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(_PAUSE)
    return False
