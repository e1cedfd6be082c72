"""http.md §5, §6, §12: how private images may be kept, without leases."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running
from tests.blackbox.image_roots import DISK
from tests.blackbox.private_images import (
    BROWSER_FOR_GOOD,
    KEPT_BY_NOBODY,
    KEPT_FOR_GOOD,
    NOBODY,
    REQUESTS,
    make_root,
    virtual_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon without leases, which the tests below leave as it is."""
    path = home("private-caching")
    make_root(path / "images")
    with running(path) as found:
        yield found


@pytest.mark.parametrize(("method", "fields", "statuses"), REQUESTS)
@pytest.mark.parametrize("path", [*KEPT_FOR_GOOD, *KEPT_BY_NOBODY])
def test_bytes(daemon: Daemon, path: str, method: str, fields: Fields, statuses: tuple[int, ...]) -> None:
    """Private images are kept by nobody; versions and chunks by browsers, where the catalog says so."""
    reply = daemon.ask(path, method, fields)
    assert reply.status in statuses
    assert reply["Cache-Control"] == (BROWSER_FOR_GOOD if path in KEPT_FOR_GOOD else NOBODY)
    assert reply.get("Vary") is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?lease=x", NOBODY),
        ("?lease=", NOBODY),
        ("?a=b&lease", NOBODY),
        ("?release=x&Lease=x", "public, max-age=3600, no-transform"),
    ],
)
def test_lease_in_the_query_of_a_public_image(daemon: Daemon, query: str, expected: str) -> None:
    """A lease in the query counts as credentials, also where none is asked for."""
    reply = daemon.ask(f"/v1/images/disk{query}")
    assert (reply.status, reply["Cache-Control"], reply.get("Vary")) == (200, expected, None)


def test_virtual_chunks(daemon: Daemon) -> None:
    """Browsers may keep virtual chunks under a version, and not their manifest."""
    chunk, manifest = (daemon.ask(virtual_path(daemon, rest)) for rest in ("chunks/00000001.bin", "manifest"))
    assert (chunk["Cache-Control"], manifest["Cache-Control"]) == (BROWSER_FOR_GOOD, NOBODY)
    assert hashlib.sha256(chunk.body).digest() == hashlib.sha256(DISK[65_536:131_072]).digest()


def test_errors(daemon: Daemon) -> None:
    """Errors are kept by nobody, also below what browsers may keep."""
    for path, fields, status in (
        (KEPT_FOR_GOOD[0], {"Range": "bytes=999999-"}, 416),
        (KEPT_FOR_GOOD[0], {"If-Match": '"x"'}, 412),
        ("/v1/images/kept/versions/v-0", {}, 404),
        ("/v1/images/kept/versions/chunks", {}, 404),
    ):
        reply = daemon.ask(path, fields=fields)
        assert (reply.status, reply["Cache-Control"]) == (status, "no-store, no-transform")


@pytest.mark.parametrize("path", ["/v1/images", "/v1/images/private/meta", "/v1/images/kept/meta"])
def test_metadata(daemon: Daemon, path: str) -> None:
    """Without leases the metadata of private images are revalidated, as all others are."""
    reply = daemon.ask(path)
    assert (reply.status, reply["Cache-Control"], reply.get("Vary")) == (200, "no-cache", None)


def test_allowlist(home: Callable[[str], Path]) -> None:
    """With an allowlist of origins a response varies by the origin alone."""
    path = home("private-caching-origins")
    make_root(path / "images")
    with running(path, "--cors-origin", "https://a.example") as daemon:
        for target in (KEPT_FOR_GOOD[0], KEPT_BY_NOBODY[0], "/v1/images", "/v1/images/private/meta"):
            assert daemon.ask(target, fields={"Origin": "https://a.example"})["Vary"] == "Origin"
