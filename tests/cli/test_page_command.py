"""`aero-storage page` and `aero-storage demo` over registries of the tests' own."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from tests.cli.package_registries import Registries, registries

from aero_storage.cli.demo import image, site
from aero_storage.cli.downloads import emulator
from aero_storage.emulator.files import EmulatorFilesError, read_emulator_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.command_output import CommandResult

    Command = Callable[..., CommandResult]

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registries]:
    """The pinned digest is that of the registry's own small package here."""
    with registries() as running:
        monkeypatch.setattr(emulator, "V86", evolve(emulator.V86, integrity=running.integrity))
        yield running


def places(served: Registries) -> tuple[str, ...]:
    return ("--registry", served.url, "--mirror", served.url)


def test_fetch_show_remove(served: Registries, command: Command, tmp_path: Path) -> None:
    """The parts come with their licences, are fetched once, shown, and removed, and nothing else is."""
    place = tmp_path / "parts"
    fetched = command("page", "fetch", "--to", place, *places(served), "--json")
    assert fetched.status == 0, fetched.err
    assert [work["licence"] for work in json.loads(fetched.out)["works"]] == ["BSD-2-Clause", "LGPL-3.0-only"]
    found = read_emulator_files(place)
    assert found is not None
    assert found.files == {
        "libv86.mjs": b"export class V86 {}",
        "v86.wasm": b"\0asm",
        "v86-licence.txt": b"BSD",
        "bios.bin": b"BIOS",
        "vgabios.bin": b"VGA",
        "seabios-copyright.txt": b"LGPL",
    }
    asked = len(served.asked)
    assert command("page", "fetch", "--to", place, *places(served)).status == 0
    assert len(served.asked) == asked
    assert "SeaBIOS 1, LGPL-3.0-only" in command("page", "show", "--to", place).out
    (place / "own.txt").write_text("mine")
    assert command("page", "remove", "--to", place).status == 0
    assert [path.name for path in place.iterdir()] == ["own.txt"]
    assert "aero-storage page fetch" in command("page", "show", "--to", place).err


def test_files_of_others_stay(served: Registries, command: Command, tmp_path: Path) -> None:
    """Files of the same names that were not fetched, as Debian's own firmware, are neither replaced nor removed."""
    (tmp_path / "bios.bin").write_bytes(b"Debian's")
    told = command("page", "fetch", "--to", tmp_path, *places(served))
    assert (told.status, "name another directory" in told.err) == (1, True)
    assert "There is nothing in" in command("page", "remove", "--to", tmp_path).out
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("bios.bin", b"Debian's")]


def test_default_place_is_in_the_images_root(served: Registries, command: Command, tmp_path: Path) -> None:
    """Without --to and --page-parts the parts are in .page of the images root."""
    (tmp_path / "root").mkdir()
    assert command("page", "fetch", "--images-root", tmp_path / "root", *places(served)).status == 0
    assert (tmp_path / "root" / ".page" / "v86.wasm").is_file()


def test_bucket_needs_a_directory(command: Command) -> None:
    """An images root in an object store has no such place: it has to be named."""
    told = command("page", "show", "--images-root", "s3://bucket/prefix")
    assert told.status == 1
    assert "--page-parts DIR" in told.err


def test_other_v86_is_refused(served: Registries, command: Command, tmp_path: Path) -> None:
    """A package of v86 with another digest than the pinned one is refused, and nothing is written."""
    served.answers["/v86/-/v86.tgz"] += b"!"
    told = command("page", "fetch", "--to", tmp_path / "new" / "parts", *places(served))
    assert told.status == 1
    assert "is not what it should be" in told.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "document",
    [
        *(b"[" * 100_000, b"{}", b"\xff"),
        *(b'{"dist": {"tarball": "file:///etc/passwd"}}', b'{"dist": {"tarball": "http://[x"}}'),
    ],
)
def test_registry_that_lies(served: Registries, command: Command, tmp_path: Path, document: bytes) -> None:
    """A document that is none of npm's registry, or leads elsewhere than to a server, is an error in one line."""
    served.answers["/v86/0.5.462"] = document
    told = command("page", "fetch", "--to", tmp_path / "parts", *places(served))
    assert (told.status, told.err.count("\n")) == (1, 1), told.err
    assert not (tmp_path / "parts").exists()


def test_without_a_registry(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline the message says what is missing, what works, and how to go on."""
    monkeypatch.setattr("aero_storage.cli.downloads.cache._TRIES", 1)
    told = command("page", "fetch", "--to", tmp_path / "parts", "--registry", "http://127.0.0.1:9")
    assert told.status == 1
    assert 'all of the page but "Boot it" works' in told.err
    assert "--registry URL" in told.err


def test_damaged_parts_are_told(served: Registries, command: Command, tmp_path: Path) -> None:
    """A part that was changed is named, and fetched again."""
    place = tmp_path / "parts"
    command("page", "fetch", "--to", place, *places(served))
    (place / "bios.bin").write_bytes(b"other")
    with pytest.raises(EmulatorFilesError, match=r"bios\.bin is not what was fetched"):
        read_emulator_files(place)
    assert "fetch it anew" in command("page", "show", "--to", place).err
    assert command("page", "fetch", "--to", place, *places(served)).status == 0
    assert read_emulator_files(place) is not None


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{}",
        "[]",
        '{"files": {}, "works": []}',
        '{"files": {"../x": "0"}, "works": []}',
        '{"files": 1, "works": 2}',
    ],
)
def test_documents_that_are_none(document: str, tmp_path: Path) -> None:
    """A document that is no document of these files is an error in one line."""
    (tmp_path / "parts.json").write_text(document)
    with pytest.raises(EmulatorFilesError, match="is no document of these files"):
        read_emulator_files(tmp_path)


def test_demo_is_built_once_and_removed(served: Registries, command: Command, tmp_path: Path) -> None:
    """The demo has image, catalog, emulator and licences; a second time nothing is fetched; all of it is removed."""
    home = tmp_path / "demo"
    built = command("demo", home, "--no-serve", *places(served))
    assert built.status == 0, built.err
    assert "SeaBIOS 1: LGPL-3.0-only" in built.out
    assert (home / "images" / "linux.img").read_bytes()[510:512] == b"\x55\xaa"
    (entry,) = json.loads((home / "images" / "manifest.json").read_text())["images"]
    assert (entry["id"], entry["file"]) == ("linux", "linux.img")
    assert (home / "licences" / "busybox-static.txt").read_bytes() == b"G"
    asked = len(served.asked)
    assert command("demo", home, "--no-serve", *places(served)).status == 0
    assert len(served.asked) == asked
    assert command("demo", home, "--remove").status == 0
    assert not home.exists()


def test_demo_without_programs(
    served: Registries, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no program makes file systems, the image is built all the same."""
    monkeypatch.setattr(image, "can_make_root", lambda: False)
    assert command("demo", tmp_path / "demo", "--no-serve", *places(served)).status == 0
    assert b"BLOCK-0.BIN" in (tmp_path / "demo" / "images" / "linux.img").read_bytes()


def test_demo_offline_serves_what_it_has(
    served: Registries, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network another image is there, the message says what is missing; later the rest comes."""
    monkeypatch.setattr("aero_storage.cli.downloads.cache._TRIES", 1)
    home = tmp_path / "demo"
    nowhere = ("--registry", "http://127.0.0.1:9", "--mirror", "http://127.0.0.1:9")
    told = command("demo", home, "--no-serve", *nowhere)
    assert (told.status, told.out) == (1, f"What there is, is in {home}\n")
    assert "http://127.0.0.1:9/v86/0.5.462: cannot be fetched: Connection refused." in told.err
    assert "There is no Linux to boot, and no emulator" in told.err
    assert (home / "images" / "linux.img").read_bytes().startswith(b"0\n")
    assert command("demo", home, "--no-serve", *places(served)).status == 0
    assert b"CD001" in (home / "images" / "linux.img").read_bytes()
    shutil.rmtree(home / "downloads")
    told = command("demo", home, "--no-serve", "--anew", *nowhere)
    assert (told.status, "What was there before is kept, and boots" in told.err) == (1, True)
    assert b"CD001" in (home / "images" / "linux.img").read_bytes()


def test_demo_leaves_other_directories_alone(command: Command, tmp_path: Path) -> None:
    """A directory with other files in it is refused, for building and for removing."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "manifest.json").write_text("{}")
    for flag in ("--no-serve", "--remove"):
        told = command("demo", tmp_path, flag)
        assert told.status == 1
    assert (tmp_path / "images" / "manifest.json").read_text() == "{}"


def test_demo_removes_its_own_files_alone(served: Registries, command: Command, tmp_path: Path) -> None:
    """What somebody has put beside the demo's files, or in place of them, stays, and so does a catalog with more."""
    home = tmp_path / "demo"
    assert command("demo", home, "--no-serve", *places(served)).status == 0
    own = {
        "images/manifest.json": json.dumps({"images": [{"id": "linux", "file": "linux.img"}, {"id": "own"}]}),
        "images/linux.img": "another disk",
        "downloads/thesis.txt": "mine",
        "licences/own.txt": "mine",
    }
    for name, text in own.items():
        (home / name).write_text(text)
    told = command("demo", home, "--remove")
    assert (told.status, "what else is in it stays" in told.out) == (0, True)
    left = {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}
    assert left == own


def test_demo_keeps_a_catalog_with_more(served: Registries, command: Command, tmp_path: Path) -> None:
    """A catalog into which images were imported is not written over when the demo is built anew."""
    home, more = tmp_path / "demo", '{"images": [{"id": "own", "file": "own.img"}]}'
    assert command("demo", home, "--no-serve", *places(served)).status == 0
    (home / "images" / "manifest.json").write_text(more)
    assert command("demo", home, "--no-serve", "--anew", *places(served)).status == 0
    assert (home / "images" / "manifest.json").read_text() == more


@pytest.mark.parametrize("text", ['{"name": "my slides"}', "[]", "no JSON", "[" * 100_000])
def test_demo_of_somebody_else(command: Command, tmp_path: Path, text: str) -> None:
    """A file demo.json of another kind does not make a directory the demo's."""
    (tmp_path / "demo.json").write_text(text)
    for flag in ("--no-serve", "--remove"):
        assert command("demo", tmp_path, flag).status == 1
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("demo.json", text)]


@pytest.mark.parametrize("name", ["images/.page", "images", "downloads", "licences"])
def test_demo_follows_no_links(served: Registries, command: Command, tmp_path: Path, name: str) -> None:
    """A link in place of a directory of the demo is refused, to build and to remove: no file elsewhere is touched."""
    home, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    assert command("demo", home, "--no-serve", *places(served)).status == 0
    (home / name).rename(elsewhere)
    (home / name).symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    assert before
    for flag in ("--remove", "--no-serve"):
        told = command("demo", home, flag, "--anew", *places(served))
        assert (told.status, f"{home / name} is a symbolic link" in told.err) == (1, True)
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == before


def test_two_demos_wait_for_each_other(
    served: Registries, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process builds in the directory, nothing is written there."""
    home = tmp_path / "demo"
    assert command("demo", home, "--no-serve", *places(served)).status == 0
    monkeypatch.setattr(site, "_MOST_WAIT", 0.0)
    with site.DemoSite(home).alone(lambda _remark: None):
        told = command("demo", home, "--no-serve", "--anew", *places(served))
    assert (told.status, "another process is at work in" in told.err) == (1, True)
    assert not list(home.glob(".*"))
