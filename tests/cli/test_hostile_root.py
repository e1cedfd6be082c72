"""Commands in an images root that others write to: links in every place, beforehand and in the middle of it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli import hostile_root
from tests.cli.hostile_root import DISK, PRECIOUS, Command, HostileRoot

from aero_storage.atomic_files import Waiting
from aero_storage.catalog import writer
from aero_storage.cli import directory_work, staged_image
from aero_storage.cli.commands import publish
from aero_storage.cli.disk_images.qemu import QemuImg
from aero_storage.errors import BusyError

if TYPE_CHECKING:
    from aero_storage.cli.repository import Say

COMMANDS = {
    "import": ["import", "disk.raw", "--id", "disk"],
    "import another": ["import", "disk.raw", "--id", "new"],
    "publish": ["publish", "disk", "--chunk-size", "4096"],
    "publish a name": ["publish", "disk", "--chunk-size", "4096", "--image-version", "v1"],
    "remove": ["remove", "disk", "--yes"],
    "remove chunks": ["remove", "disk", "--chunks-only"],
}
PLACES = [
    ".aero-storage~",
    ".aero-storage~/foo",
    ".aero-storage~/disk",
    ".aero-storage.lock",
    "chunked",
    "chunked/disk",
    "chunked/z/.publishing~",
    "chunked/disk/.publishing~",
    "imported",
    "imported/disk",
    ".aero-storage~/disk~",
    ".aero-storage~/new~",
    "imported/new",
    "imported/disk/1.img",
    ".manifest.json~",
]


pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def hostile(tmp_path: Path) -> HostileRoot:
    return hostile_root.make(tmp_path)


def reachable_bytes(root: Path) -> bytes:
    """Return all bytes of all regular files in the root, links not followed."""
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("place", PLACES)
def test_links_lead_nowhere(command: Command, hostile: HostileRoot, place: str, words: list[str]) -> None:
    """A link anywhere among the places of work: nothing is removed, written or made in what it leads to."""
    hostile.exchange(place, hostile.precious)
    before = hostile.tree()
    command(*words)
    assert hostile.tree() == before
    assert PRECIOUS not in reachable_bytes(hostile.root)


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("place", [*PLACES, "chunked/disk/v1"])
def test_links_to_nothing(command: Command, hostile: HostileRoot, place: str, words: list[str]) -> None:
    """A link to what does not exist makes nothing there."""
    hostile.exchange(place, hostile.precious / "new")
    before = hostile.tree()
    command(*words)
    assert hostile.tree() == before


@pytest.mark.parametrize("place", [".aero-storage~/foo", "chunked/z/.publishing~"])
def test_foreign_places_stop_nobody(command: Command, hostile: HostileRoot, place: str) -> None:
    """What lies in the place of another image's staging directory is told of by its path, and holds up no import."""
    hostile.exchange(place, hostile.precious)
    said = command("import", "disk.raw", "--id", "new")
    assert said.status == 0, said.err
    assert f"{hostile.root / place} is a symbolic link" in said.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
@pytest.mark.parametrize("place", [".aero-storage~/disk", "chunked/disk/.publishing~"])
def test_directories_of_others(command: Command, hostile: HostileRoot, place: str) -> None:
    """A staging directory that belongs to another user is not emptied, and the message says how to go on."""
    (hostile.root / place).mkdir(parents=True)
    (hostile.root / place / "file").write_bytes(PRECIOUS)
    os.chown(hostile.root / place, 4711, 4711)
    said = command(*COMMANDS["publish"])
    assert (said.status, (hostile.root / place / "file").read_bytes()) == (1, PRECIOUS)
    assert f"{hostile.root / place} belongs to the user with the number 4711" in said.err
    assert "move it away" in said.err


def test_places_are_closed_to_others(command: Command, hostile: HostileRoot) -> None:
    """A staging directory that a generous umask left open is closed before anybody works in it."""
    (hostile.root / ".aero-storage~").mkdir(mode=0o777)
    (hostile.root / ".aero-storage~").chmod(0o777)
    seen = list[int]()

    def look(_count: int) -> None:
        seen.append((hostile.root / ".aero-storage~").stat().st_mode & 0o777)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staged_image, "progress", lambda *_: _passing(look))
        assert command(*COMMANDS["import another"]).status == 0
    assert set(seen) == {0o700}


@contextmanager
def _passing(value: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    yield value


# In the middle of it


def before_call(patch: pytest.MonkeyPatch, module: object, name: str, act: Callable[[], None]) -> None:
    """Have `act` done just before the function of a module is called."""
    function = getattr(module, name)

    def call(*args: Any, **named: Any) -> Any:
        act()
        return function(*args, **named)

    patch.setattr(module, name, call)


@pytest.mark.parametrize("place", [".aero-storage~", ".aero-storage~/new", "imported"])
def test_exchanged_while_importing(
    command: Command, hostile: HostileRoot, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Whatever is exchanged while an image comes in, nothing is written elsewhere, and no other bytes are listed."""
    (hostile.precious / "new").mkdir()
    (hostile.precious / "new/image.raw").write_bytes(PRECIOUS)
    before_call(monkeypatch, staged_image, "import_to", lambda: hostile.exchange(place, hostile.precious))
    before = hostile.tree()
    said = command(*COMMANDS["import another"])
    assert hostile.tree() == before
    assert PRECIOUS not in reachable_bytes(hostile.root)
    assert said.status == (place == "imported")


def test_exchanged_while_qemu_converts(
    command: Command,
    hostile: HostileRoot,
    monkeypatch: pytest.MonkeyPatch,
    qemu_img: Callable[..., str],
) -> None:
    """qemu-img writes into the file that was opened, wherever the path to it leads by now."""
    qemu_img("convert", "-f", "raw", "-O", "qcow2", hostile.source, hostile.root.with_name("disk.qcow2"))
    (hostile.precious / "new").mkdir()
    (hostile.precious / "new/image.raw").write_bytes(PRECIOUS)
    before_call(
        monkeypatch,
        QemuImg,
        "convert",
        lambda: hostile.exchange(".aero-storage~", hostile.precious),
    )
    before = hostile.tree()
    assert command("import", "disk.qcow2", "--id", "new").status == 0
    assert hostile.tree() == before
    assert (hostile.root / "imported/new/1.img").read_bytes() == DISK


@pytest.mark.parametrize("place", ["chunked", "chunked/disk", "chunked/disk/.publishing~"])
def test_exchanged_while_publishing(
    command: Command, hostile: HostileRoot, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Whatever is exchanged while an image is cut, no chunk is written elsewhere."""
    before = hostile.tree()
    done = list[int]()

    def advance(count: int) -> None:
        if not done:
            done.append(count)
            hostile.exchange(place, hostile.precious)

    monkeypatch.setattr(publish, "progress", lambda *_: _passing(advance))
    command("publish", "disk", "--chunk-size", "4096", "--jobs", "1")
    assert done
    assert hostile.tree() == before


@pytest.mark.parametrize("place", ["imported/disk/1.img", "imported/disk"])
def test_another_file_is_not_published(
    command: Command, hostile: HostileRoot, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A link put in the place of an image after it was looked at does not bring a foreign file into the chunks."""
    target = hostile.precious / ("1.img" if place.endswith("img") else "")
    before_call(monkeypatch, directory_work, "publish", lambda: hostile.exchange(place, target))
    said = command(*COMMANDS["publish"])
    assert (said.status, "is a symbolic link" in said.err) == (1, True)
    assert PRECIOUS[:4096] not in reachable_bytes(hostile.root)


@pytest.mark.parametrize("place", ["chunked", "chunked/disk", "imported", "imported/disk", ".aero-storage~"])
def test_exchanged_while_removing(
    command: Command, hostile: HostileRoot, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Whatever is exchanged while daemons are given their time, nothing is removed elsewhere."""
    assert command(*COMMANDS["publish"]).status == 0
    before_call(monkeypatch, directory_work, "settle", lambda: hostile.exchange(place, hostile.precious))
    before = hostile.tree()
    command(*COMMANDS["remove"])
    assert hostile.tree() == before


def test_exchanged_way_to_an_own_file(
    command: Command, hostile: HostileRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way to an operator's file is exchanged after the catalog was changed: no file outside goes."""
    (hostile.root / "disks").mkdir()
    (hostile.root / "disks/mine.img").write_bytes(DISK)
    entries = [{"id": "mine", "file": "disks/mine.img", "name": "M"}, {"id": "x", "file": "x.img", "name": "X"}]
    (hostile.root / "manifest.json").write_text(json.dumps(entries))
    before_call(monkeypatch, directory_work, "settle", lambda: hostile.exchange("disks", hostile.precious))
    before = hostile.tree()
    said = command("remove", "mine", "--yes")
    assert (said.status, "outside the images root" in said.err) == (1, True)
    assert hostile.tree() == before


def test_exchanged_catalog(command: Command, hostile: HostileRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link put in the place of the catalog after it was read is replaced, not what it leads to."""
    other = hostile.precious / "manifest.json"
    other.write_text(json.dumps([{"id": "other", "file": "o.img", "name": "O"}]))
    before = hostile.tree()

    def exchange() -> None:
        if not (hostile.root / "manifest.json").is_symlink():
            hostile.exchange("manifest.json", other)

    before_call(monkeypatch, writer, "parse_named", exchange)
    assert command(*COMMANDS["import another"]).status == 0
    assert hostile.tree() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives links away")
def test_catalog_by_a_link_of_others(command: Command, hostile: HostileRoot) -> None:
    """A link in the place of the catalog is followed if it is ours or the root's owner's, not a stranger's."""
    other = hostile.precious / "manifest.json"
    other.write_text(json.dumps([{"id": "other", "file": "o.img", "name": "O"}]))
    hostile.exchange("manifest.json", other)
    assert command(*COMMANDS["import another"]).status == 0
    before = hostile.tree()
    assert b'"new"' in other.read_bytes()
    os.chown(hostile.root / "manifest.json", 4711, 4711, follow_symlinks=False)
    said = command(*COMMANDS["import another"])
    assert (said.status, "is a symbolic link of a foreign user" in said.err) == (1, True)
    assert hostile.tree() == before


# The plan of removals


def make_plan(hostile: HostileRoot, *rows: list[Any], name: str = "evil") -> Path:
    """Make a list of removals, as one who may rename a directory of the operator can."""
    place = hostile.root / ".aero-storage~"
    place.mkdir()
    plan = place / f"{name}~"
    plan.write_text(json.dumps({"has_catalog": True, "removals": rows}))
    plan.chmod(0o600)
    return plan


def state_of(path: Path) -> list[int]:
    return [path.stat().st_ino, path.stat().st_mtime_ns]


@pytest.mark.parametrize("named_by", ["image", "chunks", "version"])
@pytest.mark.parametrize("is_absolute", [False, True], ids=["relative", "absolute"])
def test_plan_to_remove_what_is_outside(
    command: Command, hostile: HostileRoot, named_by: str, *, is_absolute: bool
) -> None:
    """A list of removals that names a directory outside the images root removes nothing, and is told of."""
    path = str(hostile.precious) if is_absolute else "../precious"
    plan = make_plan(hostile, [path, named_by, hostile.precious.stat().st_ino, 0])
    before = hostile.tree()
    said = command(*COMMANDS["import another"])
    assert (said.status, str(plan) in said.err) == (0, True)
    assert hostile.tree() == before


@pytest.mark.parametrize("path", ["imported", "chunked", "chunked/disk", "disks"])
def test_plan_to_remove_what_is_of_other_images(command: Command, hostile: HostileRoot, path: str) -> None:
    """A list of removals has power over the chunks of its own image alone."""
    kept = hostile.root / path / "kept"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(DISK)
    plan = make_plan(hostile, [path, "image", kept.parent.stat().st_ino, 0])
    said = command(*COMMANDS["import another"])
    assert (said.status, str(plan) in said.err, kept.exists()) == (0, True, True)


def give_away(plan: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(plan, 4711, 4711)


def let_others_write(plan: Path) -> None:
    plan.chmod(0o660)


def name_twice(plan: Path) -> None:
    plan.with_name("mine").hardlink_to(plan)


def make_it_a_directory(plan: Path) -> None:
    plan.unlink()
    plan.mkdir()


@pytest.mark.parametrize("spoil", [give_away, let_others_write, name_twice, make_it_a_directory])
def test_plan_of_others(command: Command, hostile: HostileRoot, spoil: Callable[[Path], None]) -> None:
    """A list of removals that others may have written removes nothing, and is told of."""
    mine = hostile.root / "mine.img"
    mine.write_bytes(DISK)
    plan = make_plan(hostile, ["mine.img", "file", *state_of(mine)])
    spoil(plan)
    said = command(*COMMANDS["import another"])
    assert (said.status, str(plan) in said.err, mine.exists()) == (0, True, True)


@pytest.mark.parametrize("row", [["a\0b", "file", 1, 1], ["\ud800", "file", 1, 1], ["a", "file", 1e999, 1]])
def test_damaged_plan(command: Command, hostile: HostileRoot, row: list[Any]) -> None:
    """A list of removals with impossible values ends no command; it is told of."""
    plan = make_plan(hostile, row)
    plan.write_text(plan.read_text().replace("Infinity", "1e999"))
    said = command(*COMMANDS["import another"])
    assert (said.status, str(plan) in said.err) == (0, True)


# The lock


def lock_of(hostile: HostileRoot) -> Path:
    return hostile.root / ".aero-storage.lock"


def test_lock_is_of_its_owner_alone(command: Command, hostile: HostileRoot) -> None:
    """The lock file is nobody else's to open, and one that everybody could open is mended."""
    assert command(*COMMANDS["import another"]).status == 0
    assert lock_of(hostile).stat().st_mode & 0o777 == 0o600
    lock_of(hostile).chmod(0o666)
    assert command(*COMMANDS["publish"]).status == 0
    assert lock_of(hostile).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["import another", "publish", "remove"])
def test_lock_that_is_held(command: Command, hostile: HostileRoot, name: str) -> None:
    """A command tells at once what it waits for, and gives up when its time is over, with nothing changed."""
    before = (hostile.root / "manifest.json").read_bytes()
    descriptor = os.open(lock_of(hostile), os.O_RDONLY | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        said = command(*COMMANDS[name], "--lock-timeout", "0.1")
    finally:
        os.close(descriptor)
    assert said.status == 1
    *_, waits, fails = [line for line in said.err.splitlines() if "lock" in line]
    assert (str(lock_of(hostile)) in waits, "0.1 seconds" in waits) == (True, True)
    assert (str(lock_of(hostile)) in fails, "fuser -v" in fails) == (True, True)
    assert (hostile.root / "manifest.json").read_bytes() == before
    assert command(*COMMANDS[name]).status == 0


def make_link(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def make_hard_link(path: Path, elsewhere: Path) -> None:
    path.hardlink_to(elsewhere)


def make_fifo(path: Path, _elsewhere: Path) -> None:
    os.mkfifo(path)


def make_directory(path: Path, _elsewhere: Path) -> None:
    path.mkdir()


def make_foreign(path: Path, _elsewhere: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    path.touch(0o666)
    os.chown(path, 4711, 4711)


@pytest.mark.parametrize("put", [make_link, make_hard_link, make_fifo, make_directory, make_foreign])
def test_lock_that_is_none(command: Command, hostile: HostileRoot, put: Callable[[Path, Path], None]) -> None:
    """What is no lock file of ours is neither locked nor changed; the message names it and says to remove it."""
    elsewhere = hostile.precious / "file"
    elsewhere.chmod(0o644)
    put(lock_of(hostile), elsewhere)
    said = command(*COMMANDS["import another"])
    assert said.status == 1
    assert str(lock_of(hostile)) in said.err
    assert "remove it" in said.err
    assert elsewhere.stat().st_mode & 0o777 == 0o644


def test_waiting_is_said_once(hostile: HostileRoot) -> None:
    """One line tells of the wait, however long it takes; who does not wait is told nothing but the error."""
    said = list[str]()
    say: Say = said.append
    descriptor = os.open(lock_of(hostile), os.O_RDONLY | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        for timeout in (0.15, 0.0):
            with (
                pytest.raises(BusyError),
                writer.editing(hostile.root, listing=False, waiting=Waiting(timeout, say)),
            ):
                pass
    finally:
        os.close(descriptor)
    assert len(said) == 1
