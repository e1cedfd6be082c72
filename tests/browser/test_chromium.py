"""The client in Chromium, on another origin than the daemon's, under COOP and COEP."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from attrs import frozen
from tests.blackbox.leased_root import lease
from tests.browser.served import CLIENT, operate, serving
from tests.clients.chromium import IMAGES_HOST, browser, page_server, wait_for

if TYPE_CHECKING:
    from tests.browser.served import Served

PAGE = CLIENT.parent / "tests" / "browser" / "client_page.html"


@frozen
class Visit:
    """What the page found, the log lines of its requests, and what was served."""

    found: dict[str, Any]
    lines: list[dict[str, Any]]
    image: bytes
    other: bytes

    def requests(self, part: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if part in line["path"]]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def replace(served: Served) -> None:
    """Put the other image in place, and wait until the daemon says so."""
    operate(served.root, "import", served.other, "--id", "moving", "--format", "raw")
    served.until_version("moving", f"sha256-{sha256(served.other.read_bytes())}")


@pytest.fixture(scope="module")
def visit(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """One visit of the page."""
    home = tmp_path_factory.mktemp("visited")
    with serving(home) as served:
        actions = {"/replace": lambda: replace(served)}
        with page_server(PAGE.read_text(encoding="utf-8"), actions, CLIENT) as (origin, reports):
            images = f"{served.base.replace('127.0.0.1', IMAGES_HOST)}/v1/images"
            address = f"{origin}/?{urlencode({'images': images, 'lease': lease('secret')})}"
            with browser(chromium, address, tmp_path_factory.mktemp("browser")) as (process, complaints):
                found = wait_for(reports, process, complaints)
        lines = [line for line in served.request_lines() if "/v1/images/" in line["path"]]
        return Visit(found, lines, served.image.read_bytes(), served.other.read_bytes())


def test_ranges(visit: Visit) -> None:
    """All of an image is read to the byte by ranges."""
    assert visit.found["ranges"]["sha256"] == sha256(visit.image)
    assert visit.found["ranges"]["version"] == f"sha256-{sha256(visit.image)}"


def test_chunks(visit: Visit) -> None:
    """All of an image is read to the byte by chunks; those of zeros are not fetched."""
    assert visit.found["chunks"]["sha256"] == sha256(visit.image)
    assert visit.found["chunks"]["stats"]["zeroBytes"] == 2 << 20


def test_chunks_of_the_cache(visit: Visit) -> None:
    """A second reading takes every chunk from the browser's cache."""
    assert visit.found["chunks_again"] == sha256(visit.image)
    assert len(visit.requests("/chunks/")) == (5 - 2) * 4


def test_leases(visit: Visit) -> None:
    """A private image is read with a lease, by a function and in the URL; without one it is `expired`."""
    assert visit.found["lease"] == visit.found["lease_in_url"] == sha256(visit.image)
    assert visit.found["refused"] == {"name": "AeroDiskError", "code": "expired"}


def test_replaced(visit: Visit) -> None:
    """A replaced image is `changed` and told of once, whatever the browser's cache has; then the new one is read."""
    found = visit.found["replaced"]
    assert found["before"] == sha256(visit.image[:65536])
    assert (found["across"], found["kept"], found["isOther"]) == ("changed", "changed", True)
    assert found["told"] == [found["version"]]
    assert found["sha256"] == sha256(visit.other)


def test_overlay(visit: Visit) -> None:
    """What was written is exported, imported, and read by the buffer of v86."""
    text = b"written in the browser"
    assert visit.found["overlay"]["text"] == text.decode()
    assert visit.found["overlay"]["raw"] == sha256(visit.image[:1000] + text + visit.image[1000 + len(text) :])


def test_slice(visit: Visit) -> None:
    """The end of a file is sliced as readers do."""
    assert visit.found["slice"] == sha256(visit.image[-100_000:])


def test_no_preflight(visit: Visit) -> None:
    """No request needs a preflight, leases included, and the page is isolated from other origins."""
    assert visit.found["isolated"] is True
    assert {line["method"] for line in visit.lines} == {"GET"}


def test_ranges_alone(visit: Visit) -> None:
    """No answer has all of an image, and every range is of a version."""
    versions = visit.requests("/versions/")
    assert len(versions) > 10
    assert {line["status"] for line in versions if line.get("range")} <= {206, 404}
    assert all(line["bytes_sent"] <= 4 << 20 for line in visit.lines)
