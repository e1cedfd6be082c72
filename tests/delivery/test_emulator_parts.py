"""v86 and its firmware below `/ui/`, as they are in a directory at the moment (http.md §17)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from aero_storage.delivery.emulator_parts import EmulatorParts
from aero_storage.delivery.package_parts import PackageParts
from aero_storage.delivery.single_flight import FRESH_SECONDS
from aero_storage.emulator.files import DOCUMENT, EmulatorFiles, Work

if TYPE_CHECKING:
    from pathlib import Path

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


def test_no_directory(bench: Bench, ask: Ask) -> None:
    """Over a bucket, with no directory named, there is nothing, and no other name leads anywhere."""
    emulator = EmulatorParts(None, bench.disk, bench.clock, lambda _fault: None)
    handler = bench.handler(package_parts=PackageParts(emulator=emulator))
    assert document(bench, ask, handler) == {"parts": {}, "works": []}
    assert fetched(bench, ask, handler, "/ui/0123456789abcdef-v86.wasm").status == 404
