"""Files of an operator among the chunks of an image: no command removes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command_output import CommandResult
from tests.disk_bytes import noise_disk

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


PLACES = ["README", "notes/README", "{version}/README", "{version}/chunks/README", "chunks/README"]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("words", [["remove", "one", "--chunks-only"], ["remove", "one"]], ids=" ".join)
def test_file_among_the_chunks(
    command: Callable[..., CommandResult], root: Path, place: str, words: list[str]
) -> None:
    """A file among the chunks that no publication made has the removal refused, and nothing is changed."""
    Path("disk.raw").write_bytes(noise_disk(1, 2 * MIB))
    for image_id in ("one", "two"):
        assert command("import", "disk.raw", "--id", image_id).status == 0
    assert command("publish", "one", "--chunk-size", "1MiB").status == 0
    (version,) = (root / "chunked/one").iterdir()
    file = root / "chunked/one" / place.format(version=version.name)
    file.parent.mkdir(exist_ok=True)
    file.write_text("why these chunks are here")
    before = (root / "manifest.json").read_bytes()
    said = command(*words)
    assert said.status == 1
    assert f"{file} is no chunk, and would be removed with them; move it away first" in said.err
    assert (root / "manifest.json").read_bytes() == before
    assert file.read_text() == "why these chunks are here"
    file.unlink()
    assert command(*words).status == 0
    assert not (root / "chunked/one").exists()
