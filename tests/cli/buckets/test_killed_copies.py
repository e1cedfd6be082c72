"""`aero-storage copy` that is killed: nothing by halves is ever served, the next copy goes on, and no trace stays."""

from __future__ import annotations

import itertools
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.cli.buckets.conftest import DISK, OTHER_DISK, ROOT, Command, Root
from tests.cli.buckets.test_bucket_faults import WRITES, Victim, first, swept
from tests.object_store.server import ObjectStore


@pytest.fixture
def images(command: Command, tmp_path: Path, source: Path, other: Path, root: Root) -> Path:
    """Make an images root with an image in chunks, and one without."""
    del root
    place = tmp_path / "images"
    place.mkdir()
    for words in (
        ["import", source, "--id", "disk"],
        ["publish", "disk", "--chunk-size", "4MiB"],
        ["import", other, "--id", "other"],
    ):
        said = command(*words, "--images-root", place)
        assert said.status == 0, said.err
    return place


def require_sound(command: Command, root: str | Path) -> None:
    """Require that all that the catalog names, if there is one, is there and right."""
    said = command("catalog", "check", "--json", "--require-manifest", "--images-root", root)
    assert (said.status, said.json["problems"]) == (0, {}), said.out
    for image in command("list", "--json", "--require-manifest", "--images-root", root).json:
        verified = command("verify", image["id"], "--images-root", root)
        assert verified.status == 0 or "no chunks" in verified.err, verified.err


def files_below(place: Path) -> dict[str, bytes]:
    """Return all files below a directory by their names, but for locks, and the catalog, which may tell of times."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and not path.name.endswith(("lock", "manifest.json"))
    }


def kills(store: ObjectStore, operations: Sequence[str], key: str, words: list[str]) -> Iterator[None]:
    """Run a command again and again, killed one request later each time; yield after each kill."""
    for step in itertools.count():
        victim = Victim()
        store.faults.add(first(victim.kill), *operations, key=key, skip=step)
        status = victim.run(words)
        store.faults.clear()
        if status == 0:
            return
        assert status == -signal.SIGKILL
        yield


def test_to_a_bucket(command: Command, root: Root, store: ObjectStore, images: Path) -> None:
    """Whenever a copy to a bucket is killed, its catalog is sound, the next one goes on, and sweeps leave nothing."""
    begin, killed = root.bucket.snapshot(), 0
    for _ in kills(store, WRITES, "root/[!.]*", ["copy", str(images), ROOT]):
        killed += 1
        require_sound(command, ROOT)
        again = command("copy", images, ROOT)
        assert again.status == 0, again.err
        require_sound(command, ROOT)
        assert {root.data(root.entry(one)["file"]) for one in ("disk", "other")} == {DISK, OTHER_DISK}
        swept(command, root)
        root.bucket.restore(begin)
    assert killed >= 9  # chunks, their manifest, two images in an upload each, the catalog twice


def test_to_a_directory(command: Command, root: Root, store: ObjectStore, images: Path, tmp_path: Path) -> None:
    """Whenever a copy to a directory is killed, its catalog is sound, and the next one goes on to the same end."""
    assert command("copy", images, ROOT).status == 0
    del root
    (tmp_path / "whole").mkdir()
    assert command("copy", ROOT, tmp_path / "whole").status == 0
    expected = contents(files_below(tmp_path / "whole"))
    target, killed = tmp_path / "target", 0
    target.mkdir()
    for _ in kills(store, ["get"], "root/*.*", ["copy", ROOT, str(target)]):
        killed += 1
        require_sound(command, target)
        again = command("copy", ROOT, target)
        assert again.status == 0, again.err
        require_sound(command, target)
        assert contents(files_below(target)) == expected
        shutil.rmtree(target)
        target.mkdir()
    assert killed >= 8  # the catalog, a chunk manifest, two chunks, two images in pieces


def contents(files: dict[str, bytes]) -> list[bytes]:
    """Return what files have; the names of imported images tell when they were made."""
    return sorted(files.values())
