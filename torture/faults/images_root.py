"""An images root that others write to: links put into every place while commands work there."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

import attrs
from tests.blackbox.harness import environment
from tests.disk_bytes import noise_disk

from torture.outcome import Outcome
from torture.trial import Trial, run_trial

_COMMAND = Path(sys.executable).parent / "aero-storage"
_SECRET = b"nobody's business " * 4096
_DISK = noise_disk(1, 256 * 1024)
_END_SECONDS = 60.0
_PLACES = (
    ".aero-storage~",
    ".aero-storage~/new",
    ".aero-storage~/new/image.raw",
    ".aero-storage.lock",
    ".manifest.json~",
    "chunked",
    "chunked/new",
    "chunked/new/.publishing~",
    "chunked/other/.publishing~",
    "imported",
    "imported/new",
    "imported/new/1.img",
    "imported/new/1.img~",
    "imported/new/2.img",
)
_COMMANDS = (
    ("import", "source.raw", "--id", "new"),
    ("publish", "new", "--chunk-size", "64KiB"),
    ("remove", "new", "--chunks-only", "--yes"),
    ("remove", "new", "--yes"),
    ("list",),
    ("catalog", "check"),
)


@attrs.define(eq=False)
class _Meddler:
    """Puts links into the places of work and takes them away, as anybody may who may write to the root."""

    root: Path
    target: Path
    seed: str
    links: int = 0
    _over: threading.Event = attrs.field(factory=threading.Event)

    def run(self) -> None:
        """Go on until the end."""
        rng = random.Random(self.seed)
        while not self._over.wait(rng.uniform(0, 0.01)):
            place = self.root / rng.choice(_PLACES)
            hidden = place.with_name(f"{place.name}.hidden")
            try:
                place.rename(hidden)
                place.symlink_to(rng.choice((self.target, self.target / "file", self.target / "new")))
                self.links += 1
                self._over.wait(rng.uniform(0, 0.02))
                place.unlink()
                hidden.rename(place)
            except OSError:  # a command was faster, or there is no such place now
                continue

    def end(self) -> None:
        """End it."""
        self._over.set()


def hostile_root(count: int, seed: str = "root") -> Outcome:
    """Run commands while links come and go: nothing outside is read or written, the daemon serves all the while."""
    statuses: Counter[int] = Counter()
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name, run_trial(size=1 << 20) as trial:
        precious, before = _make_precious(Path(name)), trial.footprint()
        held = _tree(precious)
        (trial.daemon.home / "source.raw").write_bytes(_DISK)
        meddler = _Meddler(trial.daemon.root, precious, seed)
        thread = threading.Thread(target=meddler.run, daemon=True)
        with trial.with_live_clients():
            thread.start()
            try:
                for number in range(count):
                    statuses[_run(trial, _COMMANDS[number % len(_COMMANDS)])] += 1
            finally:
                meddler.end()
                thread.join()
        trial.check(_tree(precious) == held, "what lies outside the root was changed")
        for path in _files(trial.daemon.root):
            trial.check(_SECRET[:64] not in path.read_bytes(), f"{path.name} has bytes from outside the root")
        trial.check(meddler.links, "no link was put anywhere: nothing was tried")
        after = trial.footprint_after(before)
        trial.check_alive()
    trial.check(statuses[0], "no command succeeded")
    ends = ", ".join(f"{number} with status {status}" for status, number in sorted(statuses.items()))
    saw = f"{meddler.links} links; commands ended: {ends}; nothing outside was read or changed"
    return trial.outcome("a hostile images root", f"commands (seed {seed})", count, saw, (before, after))


def _make_precious(place: Path) -> Path:
    for name in (
        "file",
        "new/image.raw",
        "new/1.img",
        "new/1.img~",
        "new/.publishing~/file",
        "1.img",
        "1.img~",
        "lock",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(_SECRET)
    return place


def _run(trial: Trial, words: tuple[str, ...]) -> int:
    """Run one command to its end; what it says has no traceback."""
    root = {"AERO_STORAGE_IMAGE_ROOT": str(trial.daemon.root)}
    ended = subprocess.run(
        [_COMMAND, *words],
        cwd=trial.daemon.home,
        env=environment(root),
        capture_output=True,
        timeout=_END_SECONDS,
        check=False,
    )
    trial.check(b"Traceback" not in ended.stderr, f"{words[0]} ended with a traceback: {ended.stderr[-600:]!r}")
    return ended.returncode


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]


def _tree(place: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in place.rglob("*")}
