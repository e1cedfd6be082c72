"""An images root, a place outside of it, and a look at the descriptors of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aero_storage.storage.local.directory import ImageDirectory

SECRET = b"not for sale"


def descriptors_below(path: Path) -> list[str]:
    links = []
    for number in list(Path("/proc/self/fd").iterdir()):
        try:
            links.append(str(number.readlink()))
        except FileNotFoundError:  # the one that the listing itself used
            continue
    return [link for link in links if link.startswith(str(path))]


@pytest.fixture(autouse=True)
def _no_leaks(tmp_path: Path) -> Iterator[None]:
    """Whatever a test of the store does, and however it fails: all descriptors are given back."""
    yield
    assert descriptors_below(tmp_path) == []


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], list[str]]:
    """Tell the files and directories of this test that are open now."""
    return lambda: descriptors_below(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make an images root with `disk.img` in it, and `secret.img` outside."""
    path = tmp_path / "images"
    path.mkdir()
    (path / "disk.img").write_bytes(b"0123456789")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.img").write_bytes(SECRET)
    return path


@pytest.fixture
def outside(root: Path) -> Path:
    """Return a directory beside the root that holds `secret.img`."""
    return root.parent / "outside"


@pytest.fixture
def directory(root: Path) -> ImageDirectory:
    """Return the store's view of the root."""
    return ImageDirectory(root)
