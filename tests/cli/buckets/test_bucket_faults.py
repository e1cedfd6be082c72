"""Commands on a bucket that meet others, a failing store, or SIGKILL: nothing is lost, nothing stays for good."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from tests.cli.buckets.conftest import DISK, OTHER_DISK, Command, Root
from tests.object_store.faults import ACCESS_DENIED, INTERNAL_ERROR, LOST_ANSWER, RESETTING, Answer, Asked, Fault, cut
from tests.object_store.server import ObjectStore

from aero_storage.cli.main import run
from aero_storage.cli.output import Output

CATALOG = "root/manifest.json"
SECONDS = 60
WRITES = ("put", "begin_upload", "put_part", "complete_upload")
KEYS = {"objects": "root/[!.]*", "marks": "root/.aero-storage~/unnamed/*"}
WORDS = {
    "import": (["import", "other.raw", "--id", "new"], "objects", 4),
    "import again": (["import", "other.raw", "--id", "disk"], "objects", 4),
    "publish": (["publish", "disk", "--chunk-size", "2MiB", "--jobs", "1"], "objects", 5),
    "remove": (["remove", "cut"], "objects", 1),
    "remove, marks": (["remove", "cut"], "marks", 2),
}
PROGRAM = "from aero_storage.cli.main import main; main()"


def first(action: Callable[[], object]) -> Fault:
    """Do something when a request has been carried out, before its answer goes."""

    def alter(_asked: Asked, answer: Answer) -> Answer:
        action()
        return answer

    return Fault("meanwhile", alter)


def edited(root: Root, name: str) -> None:
    """Add an entry to the catalog, as another command does."""
    entries = [*root.entries(), {"id": name, "file": f"{name}.img", "name": name, "unknown": [1]}]
    root.put("manifest.json", json.dumps({"images": entries}).encode())


def sound(command: Command, root: Root, *ids: str) -> None:
    """Require that nothing is wrong with any image, and that these are there."""
    checked = command("catalog", "check", "--json")
    assert (checked.status, checked.json["problems"]) == (0, {}), checked.out
    for image_id in ids:
        file = root.entry(image_id)["file"]
        assert root.data(file) in {DISK, OTHER_DISK}


def swept(command: Command, root: Root) -> None:
    """Require that all that nothing names is gone after two sweeps with a day between them."""
    for _ in range(2):
        assert command("remove", "--expired").status == 0
        root.age(25)
    assert command("remove", "--expired").status == 0
    named = {"manifest.json"}
    for entry in root.entries():
        place = f"chunked/{entry['id']}/{entry.get('chunked_version')}/"
        named |= {entry["file"], *(key for key in root.found() if key.startswith(place))}
    assert root.found() == named


def test_catalog_that_changes_meanwhile(command: Command, root: Root, store: ObjectStore, source: Path) -> None:
    """An edit between the read and the write of the catalog is not undone: the change is made anew on it."""
    assert command("import", source, "--id", "disk").status == 0
    root.put("one.img", DISK)
    root.put("two.img", DISK)
    names = iter(["one", "two"])
    store.faults.add(first(lambda: edited(root, next(names))), "get", key=CATALOG, skip=2, times=2)
    said = command("import", source, "--id", "new")
    assert said.status == 0, said.err
    assert {entry["id"] for entry in root.entries()} == {"disk", "one", "two", "new"}
    assert root.entry("one")["unknown"] == [1]


def test_publishers_at_once(command: Command, root: Root, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several commands at once, on other images and on the same, lose no entry."""
    for number in range(3):
        assert command("import", source, "--id", f"disk{number}").status == 0
    lines = [["publish", f"disk{number % 3}", "--chunk-size", "1MiB", "--jobs", "1"] for number in range(3)]
    lines += [["import", str(source), "--id", f"new{number}"] for number in range(3)]
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda line=line: statuses.append(run(line, Output()))) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    printed = capsys.readouterr()
    assert statuses == [0] * 6, printed.err
    assert len(root.entries()) == 6
    assert all("chunked_version" in root.entry(f"disk{number}") for number in range(3))
    sound(command, root)
    swept(command, root)


def test_same_version_twice(command: Command, root: Root, store: ObjectStore, source: Path) -> None:
    """Two publishers of one version do no harm: the second finds what it would write."""
    assert command("import", source, "--id", "disk").status == 0
    assert command("publish", "disk", "--chunk-size", "1MiB").status == 0
    version = root.entry("disk")["chunked_version"]
    snapshot = {key: root.data(key) for key in root.found() if key.startswith("chunked")}
    for key in snapshot:
        root.bucket.delete(f"root/{key}")

    def publish_elsewhere() -> None:
        for key, data in snapshot.items():
            root.put(key, data)

    store.faults.add(first(publish_elsewhere), "put", key="*/chunks/00000000.bin")
    said = command("publish", "disk", "--chunk-size", "1MiB")
    assert said.status == 0, said.err
    assert root.entry("disk")["chunked_version"] == version
    assert command("verify", "disk").status == 0


def test_catalog_that_others_keep_changing(command: Command, root: Root, store: ObjectStore, source: Path) -> None:
    """A command that never gets its turn ends, and takes its new object away again."""
    assert command("import", source, "--id", "disk").status == 0
    before = root.found()
    numbers = itertools.count()
    store.faults.add(first(lambda: edited(root, f"n{next(numbers)}")), "get", key=CATALOG, skip=2, times=math.inf)
    said = command("import", source, "--id", "new", "--lock-timeout", "0.1")
    assert (said.status, "others keep changing" in said.err) == (1, True)
    store.faults.clear()
    assert root.found() == before


def test_lost_answers(command: Command, root: Root, store: ObjectStore, source: Path) -> None:
    """Writes whose answers are lost are done once: the catalog too."""
    store.faults.add(LOST_ANSWER, "put", key="root/[!.]*", times=2)
    assert command("import", source, "--id", "disk").status == 0
    store.faults.add(LOST_ANSWER, "put", key="root/[!.]*", times=3, skip=1)
    assert command("publish", "disk", "--chunk-size", "1MiB").status == 0
    sound(command, root, "disk")
    swept(command, root)


def test_upload_that_fails(command: Command, root: Root, store: ObjectStore, source: Path) -> None:
    """An upload that cannot be finished leaves the bucket as it was."""
    store.faults.add(ACCESS_DENIED, "complete_upload", times=math.inf)
    said = command("import", source, "--id", "disk")
    assert (said.status, said.err.count("\n")) == (1, 1)
    assert root.found() == set()
    assert root.bucket.uploads == {}


@pytest.mark.parametrize("fault", [RESETTING, cut(1000), INTERNAL_ERROR])
def test_faults_of_reads_and_writes(
    command: Command, root: Root, store: ObjectStore, source: Path, fault: Fault
) -> None:
    """Requests that are reset, cut short or refused once are made again."""
    assert command("import", source, "--id", "disk").status == 0
    store.faults.add(fault, "get", key="*.img", times=2, skip=1)
    store.faults.add(RESETTING, "put", key="*.bin", times=2)
    assert command("publish", "disk", "--chunk-size", "1MiB").status == 0
    sound(command, root, "disk")
    assert command("verify", "disk").status == 0


def test_image_that_is_replaced(command: Command, root: Root, store: ObjectStore, source: Path) -> None:
    """An object that is replaced while it is cut is told of, and nothing names its chunks."""
    root.put("mine.img", DISK)
    assert command("import", source, "--id", "disk").status == 0
    store.faults.add(first(lambda: root.put("mine.img", OTHER_DISK)), "head", key="root/mine.img", skip=1)
    said = command("publish", "mine.img")
    assert (said.status, "was replaced while it was" in said.err) == (1, True)
    assert "chunked_version" not in root.entry("mine.img")


def test_probe_of_a_killed_command(command: Command, root: Root, source: Path) -> None:
    """An object by which a killed command has tried the store is removed by the next one, unless it is young."""
    root.put(".aero-storage~/probe/old", b"1")
    root.age(2)
    root.put(".aero-storage~/probe/young", b"1")
    assert command("import", source, "--id", "disk").status == 0
    assert {key for key in root.found() if "~" in key} == {".aero-storage~/probe/young"}


@attrs.define
class Victim:
    """A command as a process, which the store kills."""

    process: subprocess.Popen[str] | None = None
    started: threading.Event = attrs.field(factory=threading.Event)

    def run(self, words: list[str]) -> int:
        """Return how the command ended."""
        environment = {**os.environ, "TMPDIR": str(Path("tmp").resolve())}
        with subprocess.Popen([sys.executable, "-c", PROGRAM, *words], env=environment, text=True) as process:
            self.process = process
            self.started.set()
            return process.wait(SECONDS)

    def kill(self) -> None:
        """Kill it, while it waits for an answer."""
        assert self.started.wait(SECONDS)
        assert self.process is not None
        self.process.kill()


@pytest.mark.parametrize("name", WORDS)
def test_killed_after_every_write(
    command: Command, root: Root, store: ObjectStore, source: Path, other: Path, name: str
) -> None:
    """Whenever a command is killed, the catalog is sound, the next one goes on, and sweeps remove what is left."""
    del other
    words, keys, fewest = WORDS[name]
    for image_id in ("disk", "cut"):
        assert command("import", source, "--id", image_id).status == 0
    assert command("publish", "cut").status == 0
    begin = root.bucket.snapshot()
    for step in itertools.count():
        root.bucket.restore(begin)
        victim = Victim()
        store.faults.add(first(victim.kill), *WRITES, key=KEYS[keys], skip=step)
        status = victim.run(words)
        store.faults.clear()
        if status == 0:
            break
        assert status == -signal.SIGKILL
        sound(command, root, "disk")
        again = command(*words)
        is_done = words[0] == "remove" and "there is no image" in again.err
        assert again.status == 0 or is_done, again.err
        sound(command, root, "disk")
        assert is_done or not [*Path("tmp").rglob("*")]
        swept(command, root)
    assert step == fewest
