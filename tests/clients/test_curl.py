"""curl against the running daemon."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def curl(require_tool: Callable[..., str], run_tool: Callable[..., str]) -> Callable[..., str]:
    return functools.partial(
        run_tool, require_tool("curl", package="curl"), "-q", "-sS", "--fail", "--max-time", "30"
    )


@pytest.fixture(scope="session")
def e2fsck(require_tool: Callable[..., str], run_tool: Callable[..., str]) -> Callable[..., str]:
    return functools.partial(run_tool, require_tool("e2fsck", package="e2fsprogs"))


def headers_of(text: str) -> tuple[int, dict[str, str]]:
    """Split a response's head into the status and the headers by their lower-case names."""
    first, *lines = text.strip().splitlines()
    headers = dict(line.split(": ", 1) for line in lines if line)
    return int(first.split()[1]), {name.lower(): value.strip() for name, value in headers.items()}


def test_list_names_the_image(curl: Callable[..., str], images_url: str, demo_bytes: bytes) -> None:
    """The list is JSON and holds the image with its true size."""
    (image,) = json.loads(curl(images_url))
    assert (image["id"], image["size_bytes"]) == ("demo.img", len(demo_bytes))


def test_meta_is_the_entry_of_the_list(curl: Callable[..., str], images_url: str, image_url: str) -> None:
    """The image's metadata is what the list says of it."""
    assert [json.loads(curl(f"{image_url}/meta"))] == json.loads(curl(images_url))


def test_head_tells_what_range_clients_need(curl: Callable[..., str], image_url: str, demo_bytes: bytes) -> None:
    """HEAD gives size, range support and the tag that the metadata gives too."""
    status, headers = headers_of(curl("--head", image_url))
    assert status == 200
    assert headers["content-length"] == str(len(demo_bytes))
    assert headers["accept-ranges"] == "bytes"
    assert headers["content-encoding"] == "identity"
    assert "no-transform" in headers["cache-control"]
    assert headers["etag"] == json.loads(curl(f"{image_url}/meta"))["etag"]


def test_range_in_the_middle(
    curl: Callable[..., str], image_url: str, demo_bytes: bytes, text_offset: int, tmp_path: Path
) -> None:
    """A closed range is a 206 with exactly its bytes and an exact Content-Range."""
    first, last = text_offset + 13, text_offset + 50_012
    body, head = tmp_path / "body", tmp_path / "head"
    curl("--range", f"{first}-{last}", "-o", body, "-D", head, image_url)
    status, headers = headers_of(head.read_text())
    assert status == 206
    assert headers["content-range"] == f"bytes {first}-{last}/{len(demo_bytes)}"
    assert headers["content-length"] == "50000"
    assert body.read_bytes() == demo_bytes[first : last + 1]


def test_suffix_range(curl: Callable[..., str], image_url: str, demo_bytes: bytes, tmp_path: Path) -> None:
    """A suffix range is the end of the image."""
    body, head = tmp_path / "body", tmp_path / "head"
    curl("--range", "-4097", "-o", body, "-D", head, image_url)
    status, headers = headers_of(head.read_text())
    size = len(demo_bytes)
    assert status == 206
    assert headers["content-range"] == f"bytes {size - 4097}-{size - 1}/{size}"
    assert body.read_bytes() == demo_bytes[-4097:]


def test_same_tag_is_not_sent_again(curl: Callable[..., str], image_url: str, tmp_path: Path) -> None:
    """A tag saved from one response makes the next one a 304 without a body."""
    tag, body = tmp_path / "tag", tmp_path / "body"
    curl("--etag-save", tag, "--range", "0-99", "-o", body, image_url)
    again = tmp_path / "again"
    assert curl("--etag-compare", tag, "-o", again, "-w", "%{http_code} %{size_download}", image_url) == "304 0"


def test_same_time_is_not_sent_again(curl: Callable[..., str], image_url: str, tmp_path: Path) -> None:
    """A copy that carries the image's own time is fresh: 304 to If-Modified-Since."""
    copy = tmp_path / "copy"
    curl("--remote-time", "-o", copy, image_url)
    again = tmp_path / "again"
    assert curl("--time-cond", copy, "-o", again, "-w", "%{http_code} %{size_download}", image_url) == "304 0"


def test_unsatisfiable_range_is_refused(
    curl: Callable[..., str], image_url: str, demo_bytes: bytes, tmp_path: Path
) -> None:
    """A range past the end is a 416 that tells the size."""
    size, head = len(demo_bytes), tmp_path / "head"
    curl("--range", f"{size}-", "-o", tmp_path / "body", "-D", head, image_url, accept=(22,))
    status, headers = headers_of(head.read_text())
    assert status == 416
    assert headers["content-range"] == f"bytes */{size}"


def test_resume(
    curl: Callable[..., str], image_url: str, demo_bytes: bytes, text_offset: int, tmp_path: Path
) -> None:
    """`curl -C -` fetches the missing tail only, and the file is whole."""
    partial = tmp_path / "partial.img"
    have = text_offset + 777
    partial.write_bytes(demo_bytes[:have])
    answer = curl("-C", "-", "-o", partial, "-w", "%{http_code} %{size_download}", image_url)
    assert answer == f"206 {len(demo_bytes) - have}"
    assert partial.read_bytes() == demo_bytes


def test_whole_download_is_the_file_system(
    curl: Callable[..., str], e2fsck: Callable[..., str], image_url: str, demo_bytes: bytes, tmp_path: Path
) -> None:
    """The download is the image byte for byte, and a file system without a fault."""
    copy = tmp_path / "copy.img"
    assert curl("-o", copy, "-w", "%{http_code}", image_url) == "200"
    assert copy.read_bytes() == demo_bytes
    e2fsck("-fn", copy)


def test_ranges_share_a_connection(curl: Callable[..., str], image_url: str, tmp_path: Path) -> None:
    """Three ranges one after another come over one kept connection."""
    body = tmp_path / "body"
    addresses = [word for _ in range(3) for word in ("-o", str(body), image_url)]
    counts = curl("--range", "0-99", "-w", "%{num_connects}\n", *addresses).split()
    assert counts == ["1", "0", "0"]
