"""Images made of data and holes, and what is published of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aero_storage.chunks.publish.publisher import Published, publish

Part = bytes | int


@pytest.fixture
def make_image(tmp_path: Path) -> Callable[..., Path]:
    """Give a function that makes an image of parts: bytes are data, a number is a hole of so many bytes."""

    def make(*parts: Part, name: str = "image.img") -> Path:
        path = tmp_path / name
        with path.open("wb") as file:
            for part in parts:
                if isinstance(part, int):
                    file.seek(part, os.SEEK_CUR)
                else:
                    file.write(part)
            file.truncate(file.tell())
        return path

    return make


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the versions of the image `disk` lie."""
    return tmp_path / "root" / "chunked" / "disk"


@pytest.fixture
def publish_image(directory: Path, tmp_path: Path) -> Callable[..., Published]:
    """Give a function that publishes an image, by default in tiny chunks under a version made of its content."""

    def run(
        source: Path,
        *,
        chunk_size: int = 512,
        version: str | None = None,
        advance: Callable[[int], None] = lambda _count: None,
        say: Callable[[str], None] = lambda _line: None,
        digested: bool = False,
    ) -> Published:
        return publish(
            root=tmp_path,
            source=source,
            image_id="disk",
            directory=directory,
            chunk_size=chunk_size,
            version=version,
            jobs=2,
            advance=advance,
            say=say,
            digested=digested,
        )

    return run
