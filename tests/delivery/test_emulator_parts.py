"""v86 and its firmware below `/ui/`, as they are in a directory at the moment (http.md §17)."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from aero_storage.delivery import emulator_parts
from aero_storage.delivery.emulator_parts import EmulatorParts
from aero_storage.delivery.package_parts import PackageParts
from aero_storage.delivery.single_flight import FRESH_SECONDS
from aero_storage.emulator.files import DOCUMENT, EmulatorFiles, Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.delivery.conftest import Ask, Bench

    from aero_storage.delivery.handler import RequestHandler
    from aero_storage.delivery.reply import Reply

FILES = {"libv86.mjs": b"x = 1", "v86.wasm": b"\0asm", "bios.bin": b"B", "vgabios.bin": b"V", "a-licence.txt": b"BSD"}
FOUND = EmulatorFiles(FILES, (Work("v86", "1", "BSD-2-Clause", "a-licence.txt", "https://v86.example"),))
ADDRESS = "/ui/emulator.json"


def put(directory: Path, found: EmulatorFiles = FOUND) -> None:
    directory.mkdir(exist_ok=True)
    for name, body in found.files.items():
        (directory / name).write_bytes(body)
    (directory / DOCUMENT).write_bytes(found.document())


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def handler(bench: Bench, tmp_path: Path, told: list[str]) -> RequestHandler:
    emulator = EmulatorParts(tmp_path / "parts", bench.disk, bench.clock, told.append)
    return bench.handler(package_parts=PackageParts(emulator=emulator))


def document(bench: Bench, ask: Ask, handler: RequestHandler) -> dict[str, dict[str, str]]:
    """The document, once what was seen before does not count any more."""
    bench.clock.advance(FRESH_SECONDS + 0.1)
    reply = bench.answer(ask(ADDRESS), handler=handler)
    assert (reply.status, dict(reply.headers)["Cache-Control"]) == (200, "no-cache")
    told: dict[str, dict[str, str]] = json.loads(reply.body)
    return told


def fetched(bench: Bench, ask: Ask, handler: RequestHandler, address: str) -> Reply:
    return bench.answer(ask(address), handler=handler)


def test_nothing_is_there(bench: Bench, ask: Ask, handler: RequestHandler, told: list[str]) -> None:
    """Without the directory the document says that there is nothing, and no fault is told."""
    assert document(bench, ask, handler) == {"parts": {}, "works": []}
    assert told == []


def test_what_comes_later_counts(bench: Bench, ask: Ask, handler: RequestHandler, tmp_path: Path) -> None:
    """A directory that is filled while the daemon runs is served from then on, for good, with the page's policies."""
    document(bench, ask, handler)
    put(tmp_path / "parts")
    parts = document(bench, ask, handler)["parts"]
    assert set(parts) == {"libv86.mjs", "v86.wasm", "bios.bin", "vgabios.bin"}
    reply = fetched(bench, ask, handler, parts["v86.wasm"])
    headers = dict(reply.headers)
    assert (reply.status, reply.body, headers["Content-Type"]) == (200, b"\0asm", "application/wasm")
    assert "immutable" in headers["Cache-Control"]
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_licences_are_served(bench: Bench, ask: Ask, handler: RequestHandler, tmp_path: Path) -> None:
    """Each work has its version, its licence, where it comes from, and the licence's text."""
    put(tmp_path / "parts")
    (work,) = document(bench, ask, handler)["works"]
    assert isinstance(work, dict)
    assert fetched(bench, ask, handler, work.pop("licence_file")).body == b"BSD"
    assert work == {"name": "v86", "version": "1", "licence": "BSD-2-Clause", "url": "https://v86.example"}


def test_another_version_has_another_address(bench: Bench, ask: Ask, handler: RequestHandler, tmp_path: Path) -> None:
    """A file that changes is at another address; the old one is gone, so no page mixes two versions."""
    put(tmp_path / "parts")
    old = document(bench, ask, handler)["parts"]
    put(tmp_path / "parts", evolve(FOUND, files={**FILES, "v86.wasm": b"\0asm2"}))
    new = document(bench, ask, handler)["parts"]
    assert [name for name in old if old[name] != new[name]] == ["v86.wasm"]
    assert fetched(bench, ask, handler, old["v86.wasm"]).status == 404


def test_damaged_files_are_not_served(
    bench: Bench, ask: Ask, handler: RequestHandler, tmp_path: Path, told: list[str]
) -> None:
    """A file that is not as it was fetched takes all of them away, and is told once."""
    put(tmp_path / "parts")
    (tmp_path / "parts" / "bios.bin").write_bytes(b"other")
    for _ in range(3):
        assert document(bench, ask, handler) == {"parts": {}, "works": []}
    (fault,) = told
    assert fault.endswith("bios.bin is not what was fetched")


def test_repaired_file_counts(
    bench: Bench, ask: Ask, handler: RequestHandler, tmp_path: Path, told: list[str]
) -> None:
    """A faulty file that is put right counts at the next look, though the document stayed as it was."""
    put(tmp_path / "parts")
    (tmp_path / "parts" / "bios.bin").write_bytes(b"other")
    assert document(bench, ask, handler)["parts"] == {}
    (tmp_path / "parts" / "bios.bin").write_bytes(FILES["bios.bin"])
    assert set(document(bench, ask, handler)["parts"]) == {"libv86.mjs", "v86.wasm", "bios.bin", "vgabios.bin"}
    assert len(told) == 1


def test_faulty_files_are_read_once(
    bench: Bench, ask: Ask, handler: RequestHandler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files with a fault are read again only once one of them is another file."""
    put(tmp_path / "parts")
    (tmp_path / "parts" / "bios.bin").unlink()
    document(bench, ask, handler)
    reads: list[Path] = []
    monkeypatch.setattr(emulator_parts, "read_emulator_files", reads.append)
    document(bench, ask, handler)
    assert reads == []
    (tmp_path / "parts" / "bios.bin").write_bytes(b"other")
    document(bench, ask, handler)
    assert reads == [tmp_path / "parts"]


@pytest.mark.parametrize("name", ["a\0b", "..", "", "\u202e", "n" * 300], ids=ascii)
def test_names_that_are_none(
    bench: Bench, ask: Ask, handler: RequestHandler, tmp_path: Path, told: list[str], name: str
) -> None:
    """A document with a name that no file may have takes all files away, and is told once."""
    put(tmp_path / "parts")
    (tmp_path / "parts" / DOCUMENT).write_bytes(evolve(FOUND, files={**FILES, name: b""}).document())
    for _ in range(2):
        assert document(bench, ask, handler) == {"parts": {}, "works": []}
    assert len(told) == 1


@contextmanager
def no_file(path: Path, kind: str) -> Iterator[None]:
    """Put a directory in a place, or a pipe that somebody holds open and writes nothing to."""
    path.unlink()
    if kind == "directory":
        path.mkdir()
        yield
        return
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    yield
    os.close(writer)


@pytest.mark.parametrize("name", [DOCUMENT, "v86.wasm"])
@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file(
    bench: Bench, ask: Ask, handler: RequestHandler, tmp_path: Path, told: list[str], name: str, kind: str
) -> None:
    """What stands in the place of a file is told as a fault, and no descriptor of it stays open."""
    put(tmp_path / "parts")
    with no_file(tmp_path / "parts" / name, kind):
        before = len(list(Path("/proc/self/fd").iterdir()))
        assert document(bench, ask, handler) == {"parts": {}, "works": []}
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(told) == 1


def test_files_that_are_too_much(
    bench: Bench, ask: Ask, handler: RequestHandler, tmp_path: Path, told: list[str]
) -> None:
    """All files together have a limit, since they are kept in memory; so has the document."""
    put(tmp_path / "parts", evolve(FOUND, files={**FILES, "v86.wasm": bytes(17 << 20), "bios.bin": bytes(16 << 20)}))
    assert document(bench, ask, handler) == {"parts": {}, "works": []}
    (tmp_path / "parts" / DOCUMENT).write_bytes(FOUND.document() + b" " * 70_000)
    assert document(bench, ask, handler) == {"parts": {}, "works": []}
    assert ["too long" in told[0], "is no document" in told[1]] == [True, True]


def test_another_version_of_the_same_age(bench: Bench, ask: Ask, handler: RequestHandler, tmp_path: Path) -> None:
    """A document that was written over an older one of its size counts, though a copy gave it that one's time."""
    put(tmp_path / "parts")
    old = document(bench, ask, handler)["parts"]
    before = (tmp_path / "parts" / DOCUMENT).stat()
    put(tmp_path / "parts", evolve(FOUND, files={**FILES, "v86.wasm": b"\0asm2"}))
    os.utime(tmp_path / "parts" / DOCUMENT, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert document(bench, ask, handler)["parts"] != old


def test_no_directory(bench: Bench, ask: Ask) -> None:
    """Over a bucket, with no directory named, there is nothing, and no other name leads anywhere."""
    emulator = EmulatorParts(None, bench.disk, bench.clock, lambda _fault: None)
    handler = bench.handler(package_parts=PackageParts(emulator=emulator))
    assert document(bench, ask, handler) == {"parts": {}, "works": []}
    assert fetched(bench, ask, handler, "/ui/0123456789abcdef-v86.wasm").status == 404
