"""Published images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aero_storage.chunks.publish.publisher import Published, publish


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
