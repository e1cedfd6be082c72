"""What the modules find in images that the tools of Linux made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.page.disk_images import IMAGES, make

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent


def test_made_images(run_node: Callable[..., str], lacking: Callable[[str], NoReturn], tmp_path: Path) -> None:
    """Partition tables and file systems are found as sfdisk, sgdisk, mke2fs and others made them."""
    for image in IMAGES:
        make(image, tmp_path, lacking)
    printed = run_node("--test", HERE / "made-images.mjs", IMAGES=str(tmp_path))
    assert f"# pass {len(IMAGES)}\n" in printed
