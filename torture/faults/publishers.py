"""Commands that write to one bucket at once, some of them killed, under readers of a daemon over it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.blackbox.harness import environment
from tests.disk_bytes import bootable
from tests.object_store.server import ObjectStore

from torture.bucket_readers import SERVED, live_result
from torture.bucket_trial import BUCKET, BucketTrial, Root, home, run_bucket_trial
from torture.outcome import MIB, Outcome

_READERS, _STEADY, _SECONDS = 2, 20, 15.0
_COMMAND_SECONDS = 60.0
_KILLED_WITHIN = 1.5
_PROGRAM = "from aero_storage.cli.main import main; main()"


def publishers(count: int, seed: str = "publishers") -> Outcome:
    """Publish one image twice at once, and import another: no entry is lost, whoever is killed meanwhile."""
    rng, complaints, killed = random.Random(seed), list[str](), 0
    with ObjectStore() as store, home() as place, ExitStack() as held:
        root = Root.filled(store)
        source = place / "source.raw"
        source.write_bytes(bootable(rng.randbytes(MIB)))
        commands = _Commands(store, place)
        trial = held.enter_context(run_bucket_trial(root, cache=place / "cache", complaints=complaints))
        readers = held.enter_context(root.readers(trial.daemon).reading(_READERS))
        trial.check(readers.wait_until_served(_STEADY, _SECONDS), f"not served before: {readers.seen}")
        seen = readers.count_from_now()
        for number in range(count):
            lines = (
                ("publish", "disk", "--image-version", f"a{number}", "--chunk-size", "1MiB", "--jobs", "1"),
                ("publish", "disk", "--image-version", f"b{number}", "--chunk-size", "2MiB", "--jobs", "1"),
                ("import", str(source), "--id", f"other{number}"),
            )
            victim = lines[number % 3] if number % 2 else None
            killed += _round(trial, commands, lines, victim, rng)
        trial.check(set(seen.ends) == {SERVED}, f"readers of the image saw {seen}")
        for text in seen.wrongs:
            trial.check(holds=False, text=text)
    saw = f"{killed} commands killed in mid-work; no entry lost, all versions verified; readers saw {seen}"
    tried = f"rounds of two publishers of one image and an import at once, every other with a kill -9 (seed {seed})"
    return Outcome("publishers at once", tried, count, saw, live_result([seen]), complaints=tuple(complaints))


class _Commands:
    """The operator's commands, as processes on the bucket, each with temporary files of its own, as on a machine."""

    def __init__(self, store: ObjectStore, place: Path) -> None:
        self._environment = environment({"AERO_STORAGE_IMAGE_ROOT": f"s3://{BUCKET}", **store.environ})
        self._place = place

    def start(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Start one."""
        place = self._place / "-".join(("tmp", *words)).replace("/", "_")
        place.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *words],
            env={**self._environment, "TMPDIR": str(place)},
            cwd=self._place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        """Run one to its end; return its status and what it said."""
        return _ended(self.start(words))


def _ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=_COMMAND_SECONDS)
    return process.returncode, out or err


def _round(
    trial: BucketTrial,
    commands: _Commands,
    lines: Sequence[Sequence[str]],
    victim: Sequence[str] | None,
    rng: random.Random,
) -> int:
    """Run commands at once, and kill one of them; return how many were killed before their end."""
    started = [(line, commands.start(line)) for line in lines]
    if victim is not None:
        time.sleep(rng.uniform(0.3, _KILLED_WITHIN))
        next(process for line, process in started if line is victim).kill()
    killed = 0
    for line, process in started:
        status, said = _ended(process)
        was_killed = line is victim and status < 0
        killed += was_killed
        trial.check(status == 0 or was_killed, f"{' '.join(line)}: {status}, {said[-300:]}")
    if victim is not None:  # what a killed command left is no obstacle to the next
        status, said = commands.run(*victim)
        trial.check(status == 0, f"{' '.join(victim)}, once more: {status}, {said[-300:]}")
    _check_bucket(trial, commands, lines)
    return killed


def _check_bucket(trial: BucketTrial, commands: _Commands, lines: Sequence[Sequence[str]]) -> None:
    """Require that the catalog has all that was published and imported, and that what it names is whole."""
    found = trial.root.bucket.get("manifest.json")
    entries: dict[str, Any] = {one["id"]: one for one in json.loads(found.data if found else b"{}")["images"]}
    versions = {line[line.index("--image-version") + 1] for line in lines if "--image-version" in line}
    imported = {line[line.index("--id") + 1] for line in lines if "--id" in line}
    trial.check(imported <= entries.keys(), f"{imported} is not in the catalog, which has {[*entries]}")
    current = entries["disk"].get("chunked_version")
    trial.check(current in versions, f"the version of the image is {current}, and {versions} were published")
    for words in (("catalog", "check"), ("verify", "disk")):
        status, said = commands.run(*words)
        trial.check(status == 0, f"{' '.join(words)}: {status}, {said[-300:]}")
    for version in versions:
        manifest = trial.root.bucket.get(f"chunked/disk/{version}/manifest.json")
        trial.check(manifest is not None, f"version {version} has no manifest")
