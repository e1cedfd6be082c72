"""Commands end before the disk of the images root is full, and what they wrote is gone, whoever writes it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
from tests.cli.disk_images.sources import examined
from tests.command_output import CommandResult
from tests.disk_bytes import noise_disk
from tests.small_filesystem import mounted_tmpfs

from aero_storage.atomic_files import FreeSpace
from aero_storage.atomic_files.free_space import RESERVE
from aero_storage.cli.disk_images.convert import import_to
from aero_storage.errors import OperatorError

MIB = 1 << 20


@attrs.define
class Filling:
    """A file system of 1 TiB that others fill up: it has room at the first looks, and is at the reserve then."""

    looks: int
    f_frsize: int = 4096
    f_blocks: int = (1 << 40) // 4096

    @property
    def f_bavail(self) -> int:
        """Free blocks."""
        self.looks -= 1
        return (RESERVE // 4096 - 1) if self.looks < 0 else self.f_blocks

    def space(self, _descriptor: int) -> FreeSpace:
        """Return its free space."""
        return FreeSpace(lambda: self)


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_disk_that_others_fill_up(tmp_path: Path, qemu_img: Callable[..., str], kind: str) -> None:
    """A copy and a conversion are given up as soon as the free space falls to the reserve; qemu-img is killed."""
    (tmp_path / "disk.raw").write_bytes(noise_disk(2, 96 * MIB))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", tmp_path / "disk.raw", tmp_path / "disk.qcow2")
    done = list[int]()
    before = children()
    with (
        examined(tmp_path / f"disk.{kind}") as source,
        pytest.raises(OperatorError, match="is too full: 256 MiB"),
    ):
        import_to(source, tmp_path / "new.raw", done.append, space_around=Filling(looks=2).space)
    assert sum(done) < 96 * MIB
    assert not (tmp_path / "new.raw").exists()
    assert children() == before


def test_room_is_looked_at_often(tmp_path: Path) -> None:
    """A copy looks at the free space before every few MiB that it writes."""
    (tmp_path / "disk.raw").write_bytes(noise_disk(2, 64 * MIB))
    filling = Filling(looks=1000)
    with examined(tmp_path / "disk.raw") as source:
        import_to(source, tmp_path / "new.raw", lambda _: None, space_around=filling.space)
    assert 1000 - filling.looks >= 8


@pytest.fixture
def small_root(tmp_path: Path) -> Path:
    """Return the mount point of an images root."""
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.mark.usefixtures("alone")
def test_import_that_cannot_fit(command: Callable[..., CommandResult], small_root: Path) -> None:
    """A plain file that has no room is refused before anything is written."""
    Path("disk.raw").write_bytes(noise_disk(1, 30 * MIB))
    with mounted_tmpfs(small_root, "20m"):
        said = command("import", "disk.raw", "--id", "disk")
        assert said.status == 1
        assert "stay free, and 30 MiB are needed; nothing was changed" in said.err
        assert list(small_root.iterdir()) == []


@pytest.mark.usefixtures("alone")
def test_publish_fills_no_disk(command: Callable[..., CommandResult], small_root: Path) -> None:
    """The chunks of an image that have no room beside it are removed again before the disk is full."""
    with mounted_tmpfs(small_root, "20m"):
        (small_root / "disk.img").write_bytes(noise_disk(1, 12 * MIB))
        catalog = json.dumps([{"id": "disk", "file": "disk.img", "name": "Disk"}])
        (small_root / "manifest.json").write_text(catalog)
        said = command("publish", "disk", "--chunk-size", "1MiB", "--jobs", "1")
        assert (said.status, "the disk of the images root is too full" in said.err) == (1, True)
        assert (small_root / "manifest.json").read_text() == catalog
        left = {path.name for path in small_root.rglob("*")}
        assert left <= {"disk.img", "manifest.json", "chunked", ".aero-storage.lock"}


@pytest.mark.usefixtures("alone")
def test_remove_on_a_full_disk(command: Callable[..., CommandResult], small_root: Path) -> None:
    """A removal that has no room for the new catalog says how to make it, changes nothing, and succeeds then."""
    Path("disk.raw").write_bytes(noise_disk(1, 2 * MIB))
    with mounted_tmpfs(small_root, "20m"):
        for image_id in ("one", "two"):
            assert command("import", "disk.raw", "--id", image_id).status == 0
        catalog = (small_root / "manifest.json").read_bytes()
        with (small_root / "filler").open("wb") as filler, suppress(OSError):
            while True:
                os.write(filler.fileno(), b"x" * 4096)
        said = command("remove", "one")
        assert (said.status, said.err.count("\n")) == (1, 1), said.err
        assert "no space left: before a file may go, a new catalog" in said.err
        assert (small_root / "manifest.json").read_bytes() == catalog
        assert (small_root / "imported/one/1.img").exists()
        os.truncate(small_root / "filler", (small_root / "filler").stat().st_size - 128 * 1024)
        assert command("remove", "one").status == 0
        assert not (small_root / "imported/one").exists()


def test_reserve() -> None:
    """A large file system keeps RESERVE free, a small one a twentieth; the look counts what is asked for."""
    status = Filling(looks=2)
    assert FreeSpace(lambda: status).require() == (1 << 40) - RESERVE
    status.f_blocks = 1000
    assert FreeSpace(lambda: status).require(950 * 4096) == 950 * 4096
    status.looks = 1
    with pytest.raises(OperatorError, match="is too full"):
        FreeSpace(lambda: status).require(950 * 4096 + 1)
