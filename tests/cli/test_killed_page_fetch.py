"""`page fetch` that is killed at every step: `page remove` and the next `page fetch` leave nothing of it."""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from tests.cli.kills import Command, interrupted_at, killed_at
from tests.cli.package_registries import Registries, registries

from aero_storage.cli.demo import image
from aero_storage.cli.downloads import emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FEWEST_STEPS = 20

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registries]:
    with registries() as running:
        monkeypatch.setattr(emulator, "V86", evolve(emulator.V86, integrity=running.integrity))
        yield running


def files_in(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("flags", [(), ("--anew",)], ids=["first", "anew"])
def test_killed_at_every_step(
    served: Registries, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    """Whenever it is killed, nothing of it stays after a removal, and the next one makes the directory whole."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    words = ("page", "fetch", "--registry", served.url, "--mirror", served.url, "--to")
    whole = tmp_path / "whole"
    assert command(*words, whole).status == 0
    for step in itertools.count(1):
        removed, mended = tmp_path / f"removed{step}", tmp_path / f"mended{step}"
        if flags:
            shutil.copytree(whole, removed)
        else:
            removed.mkdir()
        (removed / "own.bin").write_bytes(b"mine")
        was_killed = killed_at(step, command, [*words, removed, *flags])
        shutil.copytree(removed, mended)
        assert command("page", "remove", "--to", removed).status == 0
        assert files_in(removed) == {"own.bin": b"mine"}, f"killed at step {step}"
        assert command(*words, mended).status == 0
        assert files_in(mended) == {**files_in(whole), "own.bin": b"mine"}, f"killed at step {step}"
        assert not files_in(tmp_path / "temporary"), f"killed at step {step}"
        if not was_killed:
            break
    assert step > FEWEST_STEPS


def test_demo_killed_at_every_step(
    served: Registries, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the demo is killed as it fetches and builds, its removal leaves nothing, and the next one is whole."""
    monkeypatch.setattr(image, "make_image", lambda contents, with_root: contents.kernel * (1000 + with_root))
    words = ("--no-serve", "--registry", served.url, "--mirror", served.url)
    whole = tmp_path / "whole"
    assert command("demo", whole, *words).status == 0
    for step in itertools.count(1):
        removed, mended = tmp_path / f"removed{step}", tmp_path / f"mended{step}"
        was_killed = killed_at(step, command, ["demo", removed, *words])
        if not removed.exists() or not any(removed.iterdir()):
            continue
        shutil.copytree(removed, mended)
        told = command("demo", removed, "--remove")
        assert not removed.exists(), f"killed at step {step}: {told.err}, {files_in(removed)}"
        assert command("demo", mended, *words).status == 0
        assert files_in(mended) == files_in(whole), f"killed at step {step}"
        shutil.rmtree(mended)
        if not was_killed:
            break
    assert step > FEWEST_STEPS


@pytest.mark.parametrize("words", [("demo", "--no-serve"), ("page", "fetch", "--to")], ids=["demo", "page"])
def test_interrupted_at_every_step(
    served: Registries, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Ctrl-C ends it with status 130 whenever it comes, and no file is left half-done, nor one in /tmp."""
    monkeypatch.setattr(image, "make_image", lambda contents, with_root: contents.kernel * (1000 + with_root))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    for step in itertools.count(1):
        place = tmp_path / str(step)
        flags = ("--registry", served.url, "--mirror", served.url)
        status = interrupted_at(step, command, [*words, place, *flags])
        if status is None:
            break
        assert status == 130, f"interrupted at step {step}"
        left = [name for name in files_in(tmp_path) if name.endswith("~") and name.startswith(f"{step}/")]
        assert len(left) <= 1, f"interrupted at step {step}"  # the one whose own removal was interrupted
        assert not any(path.is_file() for path in (tmp_path / "temporary").iterdir()), f"interrupted at step {step}"
        shutil.rmtree(place, ignore_errors=True)
    assert step > FEWEST_STEPS
