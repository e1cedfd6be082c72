"""A page in a real browser, on another origin and isolated (COOP, COEP), reads an image from the daemon."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from tests.clients.chromium import IMAGES_HOST, browser, page_server, wait_for
from tests.docs.pages import PROJECT, README, blocks

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).with_name("page.html")
BY_HAND = PROJECT / "docs" / "how-to" / "ranges-by-hand.md"
TUTORIAL = PROJECT / "docs" / "tutorial" / "first-image.md"


def page() -> str:
    """Return the page, with the examples of the documentation in their places, reading what the page is given."""
    (ranges,) = blocks(BY_HAND, "js")
    ranges = ranges.replace('"http://localhost:8080/v1/images/demo.img"', "image")
    (client,) = blocks(README, "js")
    client = client.replace('"http://localhost:8080/v1/images/demo.img"', "image")
    client = client.replace('"http://localhost:8080/client/aero-disk.js"', 'new URL("/client/aero-disk.js", image)')
    (script,) = [block for block in blocks(TUTORIAL, "sh") if "lab.js" in block]
    chunks = script[script.index("const manifest =") : script.index("say(`By a chunk")]
    text = PAGE.read_text(encoding="utf-8").replace("/* the example of ranges by hand stands here */", ranges)
    text = text.replace("/* the README's example stands here */", client)
    return text.replace("/* the tutorial's example of chunks stands here */", chunks)


@pytest.fixture(scope="module")
def found(
    require_tool: Callable[..., str],
    image_url: str,
    chunked_daemon: str,
    text_offset: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What the page saw, all in one visit."""
    path = require_tool("chromium", "chromium-browser", "google-chrome", package="chromium")
    with page_server(page()) as (origin, reports):
        image = image_url.replace("127.0.0.1", IMAGES_HOST)
        chunks = chunked_daemon.replace("127.0.0.1", IMAGES_HOST)
        given = {"image": image, "foreign": image_url, "text": text_offset, "chunks": chunks}
        address = f"{origin}/?{urlencode(given)}"
        with browser(path, address, tmp_path_factory.mktemp("browser")) as (process, complaints):
            report = wait_for(reports, process, complaints)
    assert report["origin"] == origin
    return report


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_page_is_isolated(found: dict[str, Any]) -> None:
    """The page has SharedArrayBuffer's isolation, under which most emulators run, and the daemon works with it."""
    assert found["isolated"] is True


def test_example_of_the_readme(found: dict[str, Any], demo_bytes: bytes) -> None:
    """The README's example loads the client from the daemon and reads what it says it reads."""
    assert found["client"] == sha256(demo_bytes[1024:2048])


def test_example_of_ranges(found: dict[str, Any], demo_bytes: bytes) -> None:
    """The example reads what it says it reads, and takes no clipped range for the whole."""
    by_hand = found["by_hand"]
    assert (by_hand["size"], by_hand["superblock"]) == (len(demo_bytes), sha256(demo_bytes[1024:2048]))
    assert by_hand["past"].endswith(": status 206")


def test_example_takes_no_other_version(found: dict[str, Any]) -> None:
    """The example of ranges refuses a 200 in place of a range, and cancels the body that would follow."""
    assert found["whole_instead"] == {
        "refused": "bytes 1024 to 2047: status 200",
        "used": True,
    }


def test_example_takes_no_short_body(found: dict[str, Any]) -> None:
    """The example of ranges refuses a 206 whose headers are right and whose body is short."""
    assert found["short_instead"]["refused"] == "bytes 1024 to 2047: only 100 came"


def test_page_reads_the_metadata(found: dict[str, Any], demo_bytes: bytes) -> None:
    """The metadata arrives as JSON, with the tag that HEAD shows."""
    assert found["meta"]["size_bytes"] == len(demo_bytes)
    assert found["meta"]["etag"] == found["head"]["headers"]["etag"]


def test_page_probes_with_head(found: dict[str, Any], demo_bytes: bytes) -> None:
    """HEAD shows the page size, tag, time and range support: all exposed."""
    head = found["head"]
    assert (head["status"], head["length"]) == (200, 0)
    assert head["headers"]["content-length"] == str(len(demo_bytes))
    assert head["headers"]["accept-ranges"] == "bytes"
    assert head["headers"]["etag"].startswith('"')
    assert head["headers"]["last-modified"].endswith(" GMT")
    assert head["headers"]["x-request-id"]


def test_page_reads_a_range(found: dict[str, Any], demo_bytes: bytes, text_offset: int) -> None:
    """A range is exact and passes the checks that disk clients make on its headers."""
    part = found["range"]
    body = demo_bytes[text_offset : text_offset + 65_536]
    assert (part["status"], part["length"], part["sha256"]) == (206, 65_536, sha256(body))
    headers = part["headers"]
    assert headers["content-range"] == f"bytes {text_offset}-{text_offset + 65_535}/{len(demo_bytes)}"
    assert headers["content-encoding"] == "identity"
    assert "no-transform" in headers["cache-control"]


def test_page_reads_a_suffix(found: dict[str, Any], demo_bytes: bytes) -> None:
    """A suffix range, which browsers ask permission for first, gets through."""
    part = found["suffix"]
    assert (part["status"], part["sha256"]) == (206, sha256(demo_bytes[-1000:]))


def test_page_pins_the_version(found: dict[str, Any], demo_bytes: bytes) -> None:
    """If-Range with the tag gives the range, If-Match with another one 412, If-None-Match with it 304."""
    assert (found["same"]["status"], found["same"]["sha256"]) == (206, sha256(demo_bytes[:1024]))
    assert (found["changed"], found["fresh"]) == (412, 304)


def test_page_may_send_its_headers(found: dict[str, Any]) -> None:
    """A request id and v86's X-Accept-Encoding pass the preflight; the id comes back."""
    assert found["named"] == "browser-1"


def test_page_learns_why_a_range_failed(found: dict[str, Any], demo_bytes: bytes) -> None:
    """A 416 is readable across origins and tells the size."""
    assert found["past"]["status"] == 416
    assert found["past"]["headers"]["content-range"] == f"bytes */{len(demo_bytes)}"


def test_resource_policy_admits_the_site_alone(found: dict[str, Any]) -> None:
    """Without CORS, an isolated page gets at images of its own site and not at those of another one."""
    assert found["opaque"] == "opaque"
    assert found["foreign"] == "TypeError"


def test_page_downloads_the_whole(found: dict[str, Any], demo_bytes: bytes) -> None:
    """The whole image, hashed in the browser, is the file."""
    whole = found["whole"]
    assert (whole["status"], whole["length"], whole["sha256"]) == (200, len(demo_bytes), sha256(demo_bytes))


@pytest.mark.parametrize(
    ("image_id", "chunk_size", "has_digests"), [("published", 1 << 20, 1), ("virtual", 4 << 20, 0)]
)
def test_page_reads_chunks(
    found: dict[str, Any], demo_bytes: bytes, image_id: str, chunk_size: int, has_digests: int
) -> None:
    """The tutorial's example reads all chunks, checks each digest there is, and what it gets is the image."""
    count = len(demo_bytes) // chunk_size
    expected = {"chunks": count, "digests": count * has_digests}
    assert found[image_id] == expected | {"length": len(demo_bytes), "sha256": sha256(demo_bytes)}
