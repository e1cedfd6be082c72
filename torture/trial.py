"""One daemon under a fault: what it serves and holds, what its live clients see, and complaints about it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
from tests.blackbox.harness import Daemon, running, until
from tests.blackbox.worker_processes import children_of

from torture.image_content import Content
from torture.live_clients import LiveClients, live_clients
from torture.outcome import MIB, Footprint, LiveResult, Outcome

IMAGE = "/v1/images/disk"
CAP = 64
"""The default of --max-concurrent-bytes-requests."""
_MOST_GROWTH = 96 * MIB
"""More than connections and read buffers of a thousand clients take, less than a leak of a body each."""
_SETTLE_SECONDS = 20.0
_WRITTEN = 1_600_000_000
"""The image's mtime, so that all daemons show the same tag for it."""


@attrs.define(eq=False)
class Trial:
    """One daemon over `images/disk`, and the findings about it."""

    daemon: Daemon
    content: Content
    complaints: list[str] = attrs.field(factory=list)
    live: LiveResult | None = None

    @property
    def image(self) -> Path:
        """The file of the image."""
        return self.daemon.root / "disk"

    def check(self, holds: object, text: str) -> None:
        """Complain unless it holds; of many complaints the first twenty are kept."""
        if not holds and len(self.complaints) < 20:
            self.complaints.append(text)

    def footprint(self, *, places: bool = False) -> Footprint:
        """Measure all processes of the daemon; with `places` find out how many are free."""
        processes = [self.daemon.process.pid, *children_of(self.daemon.process.pid)]
        descriptors, resident = sum(map(_descriptors, processes)), sum(map(_resident, processes))
        return Footprint(descriptors, resident, free_places(self.daemon) if places else None)

    def footprint_after(self, before: Footprint) -> Footprint:
        """Wait until nothing is held that was not before, and complain if that does not come."""
        if not _settled(lambda: self.footprint().descriptors <= before.descriptors):
            self.check(holds=False, text=f"{self.footprint().descriptors - before.descriptors} descriptors were kept")
        if before.places is not None:
            _settled(lambda: free_places(self.daemon) == before.places)
        after = self.footprint(places=before.places is not None)
        growth = after.resident - before.resident
        self.check(growth <= _MOST_GROWTH, f"memory grew by {growth / MIB:.0f} MiB")
        self.check(after.places == before.places, f"{after.places} places are free, {before.places} were before")
        return after

    @contextmanager
    def with_live_clients(
        self, clients: int = 2, stem: str = IMAGE, *, forgiving: bool = False
    ) -> Iterator[LiveClients]:
        """Let live clients ask for ranges for the length of a with block, and take over what they found."""
        with live_clients(self.daemon.port, self.content, clients, stem, forgiving=forgiving) as watch:
            yield watch
        self.live = watch.result()
        self.check(self.live.requests, "no live client was served")
        for failure in self.live.failures:
            self.check(holds=False, text=f"a live client: {failure}")
        self.check(not self.live.wrong_bytes, f"live clients got {self.live.wrong_bytes} wrong bytes")

    def outcome(self, fault: str, tried: str, count: int, saw: str, held: tuple[Footprint, Footprint]) -> Outcome:
        """Sum up; `held` is what the daemon held before and after."""
        return Outcome(fault, tried, count, saw, self.live, *held, tuple(self.complaints))

    def check_alive(self) -> None:
        """Complain if the process has ended, does not answer, or logged a traceback."""
        status = self.daemon.process.poll()
        self.check(status is None, f"the daemon ended with status {status}")
        if status is None:
            self.check(self.daemon.ask("/healthz").status == 200, "/healthz is not 200")
        for line in tracebacks(self.daemon.home):
            self.check(holds=False, text=f"the log has a traceback: {line[:600]}")


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - iterdir opens no less


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tracebacks(home: Path) -> list[str]:
    """Return every line of the logs and outputs in `home` that holds a traceback."""
    found = []
    for path in sorted(home.iterdir()):
        if path.is_file() and path.name.startswith(("log", "stdout", "stderr")):
            with path.open("rb") as file:
                found += [line.decode("utf-8", "replace") for line in file if b"raceback" in line]
    return found


def _settled(holds: Callable[[], bool]) -> bool:
    """Wait until something holds; whether it came to that."""
    try:
        return until(holds, _SETTLE_SECONDS)
    except AssertionError:
        return False


def free_places(daemon: Daemon) -> int:
    """How many places the daemon has free. To take them all says nothing: slow streams give theirs up."""
    return CAP - int(daemon.metrics().value("aero_storage_places_taken"))


@contextmanager
def run_trial(
    *flags: str,
    size: int = 24 * MIB,
    prefix: tuple[str, ...] = (),
    manifest: bytes = b"",
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Trial]:
    """Run a daemon over one image whose bytes follow from their offsets."""
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name:
        place, content = home or Path(name), Content(size)
        root = place / "images"
        root.mkdir(exist_ok=True)
        content.write(root / "disk")
        os.utime(root / "disk", (_WRITTEN, _WRITTEN))
        if manifest:
            (root / "manifest.json").write_bytes(manifest)
        with running(
            place, "--shutdown-grace-secs=1", *flags, env=env, prefix=prefix, metrics_at_once=False
        ) as daemon:
            assert daemon.ask(IMAGE, "HEAD").status == 200  # what it opens once is open before it is measured
            assert daemon.ask(IMAGE, fields={"Range": "bytes=0-0"}).status == 206
            yield Trial(daemon, content)
