"""wget and aria2 against the running daemon: resumed and split downloads."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def wget(require_tool: Callable[..., str], run_tool: Callable[..., str]) -> Callable[..., str]:
    path = require_tool("wget", package="wget")
    return functools.partial(run_tool, path, "--no-config", "--tries=1", "--timeout=20", "--progress=dot:giga")


@pytest.fixture(scope="session")
def aria2(require_tool: Callable[..., str], run_tool: Callable[..., str]) -> Callable[..., str]:
    path = require_tool("aria2c", package="aria2")
    return functools.partial(run_tool, path, "--no-conf", "--max-tries=1", "--timeout=20", "--file-allocation=none")


def test_wget_resumes(
    wget: Callable[..., str], image_url: str, demo_bytes: bytes, text_offset: int, tmp_path: Path
) -> None:
    """`wget -c` on a partial file gets a 206 with the tail, and the file is whole."""
    partial = tmp_path / "demo.img"
    partial.write_bytes(demo_bytes[: text_offset + 4321])
    assert "206 Partial Content" in wget("-c", "-S", "-O", partial, image_url)
    assert partial.read_bytes() == demo_bytes


def test_wget_has_nothing_left_to_do(
    wget: Callable[..., str], image_url: str, demo_bytes: bytes, tmp_path: Path
) -> None:
    """`wget -c` on a complete file understands the 416 and leaves the file as it is."""
    whole = tmp_path / "demo.img"
    whole.write_bytes(demo_bytes)
    assert "The file is already fully retrieved; nothing to do." in wget("-c", "-O", whole, image_url)
    assert whole.read_bytes() == demo_bytes


def test_aria2_splits(
    aria2: Callable[..., str],
    image_url: str,
    demo_bytes: bytes,
    logged: Callable[[str, int], list[dict[str, object]]],
    tmp_path: Path,
) -> None:
    """aria2 fetches the pieces over eight connections and puts the image together."""
    name = "--header=X-Request-Id: aria2-splits"
    aria2("-x8", "-s8", "-k1M", name, "--dir", tmp_path, "--out", "copy.img", image_url)
    assert (tmp_path / "copy.img").read_bytes() == demo_bytes
    statuses = [line["status"] for line in logged("aria2-splits", 8)]
    assert statuses.count(206) >= 7
