"""http.md §3: the catalog and the images change while the daemon runs."""

from __future__ import annotations

import os
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import SHOWS_WITHIN, running, until
from tests.blackbox.image_roots import (
    DISK,
    NANOS,
    SECONDS,
    WIDE_SIZE,
    entry,
    put,
    put_catalog,
    small_root,
    tag_of,
    wide_bytes,
    write,
)
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon, Line

RELOADS = "aero_storage_catalog_reload_total"
RELOADED_AT = "aero_storage_catalog_reload_last_success_timestamp_seconds"


def _is_error(line: Line) -> bool:
    return line["level"] in {"error", "critical"}


def _ids(daemon: Daemon) -> list[str]:
    return [image["id"] for image in daemon.ask("/v1/images").json()]


@pytest.fixture(scope="module")
def running_daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """One daemon for all tests here."""
    path = home("reload")
    small_root(path / "images")
    with running(path) as daemon:
        yield daemon


@pytest.fixture
def daemon(running_daemon: Daemon) -> Daemon:
    """The daemon with a good catalog of `disk` and `one`, and its files in place."""
    root = running_daemon.root
    put(root / "disk.img", DISK, (SECONDS, NANOS))
    put(root / "one.img", b"one", (SECONDS, NANOS))
    put_catalog(root, [entry("disk"), entry("one", "one.img")])
    running_daemon.hang_up()
    until(lambda: _ids(running_daemon) == ["disk", "one"], SHOWS_WITHIN)
    until(lambda: running_daemon.ask("/v1/images/one").body == b"one", SHOWS_WITHIN)
    until(lambda: running_daemon.ask("/readyz").status == 200, SHOWS_WITHIN)
    return running_daemon


def test_edit_by_rename_shows(daemon: Daemon) -> None:
    """A catalog replaced by rename shows within a second, on every route."""
    put_catalog(daemon.root, [entry("two", "one.img"), entry("disk")])
    until(lambda: _ids(daemon) == ["two", "disk"], SHOWS_WITHIN)
    assert daemon.ask("/v1/images/two").body == b"one"
    assert daemon.ask("/v1/images/one").status == 404


def test_edit_in_place_shows(daemon: Daemon) -> None:
    """A catalog rewritten in place shows within a second too."""
    (daemon.root / "manifest.json").write_text('[{"id": "three", "file": "one.img", "name": "3"}]')
    until(lambda: _ids(daemon) == ["three"], SHOWS_WITHIN)


def test_hangup_reads_the_catalog_again(daemon: Daemon) -> None:
    """SIGHUP reads the catalog even if size and mtime of the file are what they were, and ends nothing."""
    path = daemon.root / "manifest.json"
    before = path.stat()
    path.write_text(path.read_text().replace('"one"', '"uno"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    daemon.hang_up()
    until(lambda: _ids(daemon) == ["disk", "uno"], SHOWS_WITHIN)
    assert daemon.process.poll() is None


def test_hangup_is_counted(daemon: Daemon) -> None:
    """A SIGHUP is a reading more, with the time of it, though the catalog is what it was."""
    before, asked = daemon.metrics(), time.time()
    daemon.hang_up()
    daemon.rises(before, 1, RELOADS, result="success")
    after = daemon.metrics()
    assert before.value(RELOADED_AT) < asked <= after.value(RELOADED_AT) <= time.time()
    assert after.value(RELOADS, result="failure") == before.value(RELOADS, result="failure")


def test_failed_hangup_is_counted(daemon: Daemon) -> None:
    """A SIGHUP that finds a catalog invalid is a failure more; the time of the last success stays."""
    since = daemon.log_size()
    put_catalog(daemon.root, "broken")
    daemon.line(_is_error, since, SHOWS_WITHIN)
    before, since = daemon.metrics(), daemon.log_size()
    daemon.hang_up()
    daemon.rises(before, 1, RELOADS, result="failure")
    line = daemon.line(_is_error, since)
    assert (line["message"], line["serving"]) == ("catalog invalid", "the last good one")
    after = daemon.metrics()
    for name, labels in ((RELOADED_AT, {}), (RELOADS, {"result": "success"})):
        assert after.value(name, **labels) == before.value(name, **labels)
    assert _ids(daemon) == ["disk", "one"]


@pytest.mark.parametrize("count", [2, 20])
def test_many_hangups(daemon: Daemon, count: int) -> None:
    """SIGHUPs in a row leave the daemon running."""
    for _ in range(count):
        daemon.hang_up()
    assert daemon.ask("/readyz").status == 200
    assert daemon.ask("/v1/images/one").body == b"one"


@pytest.mark.parametrize(
    "document", ["", "{", [], [{"id": ".."}], {"images": [entry("disk"), entry("disk")]}], ids=str
)
def test_invalid_version_never_replaces_a_good_one(daemon: Daemon, document: object) -> None:
    """An invalid new version is an error in log and metrics; the old one goes on serving, ready."""
    since, before = daemon.log_size(), daemon.metrics()
    put_catalog(daemon.root, document)
    daemon.line(_is_error, since, SHOWS_WITHIN)
    assert _ids(daemon) == ["disk", "one"]
    assert daemon.ask("/v1/images/one").body == b"one"
    assert daemon.ask("/readyz").status == 200
    count = before.value("store_errors_total", kind="manifest")
    until(lambda: daemon.metrics().value("store_errors_total", kind="manifest") > count)


def test_repair_shows(daemon: Daemon) -> None:
    """After an invalid version a good one is taken again."""
    since = daemon.log_size()
    put_catalog(daemon.root, "broken")
    daemon.line(_is_error, since, SHOWS_WITHIN)
    put_catalog(daemon.root, [entry("mended")])
    until(lambda: _ids(daemon) == ["mended"], SHOWS_WITHIN)


def test_disappearance_counts_as_invalid(daemon: Daemon) -> None:
    """A catalog that disappears leaves the old one serving and never turns into a listing."""
    since = daemon.log_size()
    (daemon.root / "manifest.json").unlink()
    daemon.line(_is_error, since, SHOWS_WITHIN)
    assert _ids(daemon) == ["disk", "one"]
    assert daemon.ask("/v1/images/disk.img").status == 404
    assert daemon.ask("/v1/images/one").body == b"one"
    assert daemon.ask("/readyz").status == 200
    daemon.hang_up()
    assert daemon.ask("/v1/images/disk.img").status == 404


def test_missing_image_of_a_catalog(daemon: Daemon) -> None:
    """An image whose file goes is a 404, left out of the list and not ready; the others go on; it may come back."""
    (daemon.root / "one.img").unlink()
    until(lambda: daemon.ask("/v1/images/one").status == 404, SHOWS_WITHIN)
    until(lambda: daemon.ask("/v1/images/one/meta").status == 404, SHOWS_WITHIN)
    until(lambda: _ids(daemon) == ["disk"], SHOWS_WITHIN)
    until(lambda: daemon.ask("/readyz").status == 503, SHOWS_WITHIN)
    assert daemon.ask("/v1/images/disk").body == DISK
    write(daemon.root / "one.img", b"back")
    until(lambda: daemon.ask("/v1/images/one").body == b"back", SHOWS_WITHIN)
    until(lambda: daemon.ask("/readyz").status == 200, SHOWS_WITHIN)


def test_replaced_image_shows(daemon: Daemon) -> None:
    """An image replaced by rename shows with new bytes, size and tag within a second."""
    tag = daemon.ask("/v1/images/one")["ETag"]
    put(daemon.root / "one.img", b"one, renewed")
    until(lambda: daemon.ask("/v1/images/one").body == b"one, renewed", SHOWS_WITHIN)
    reply = daemon.ask("/v1/images/one")
    assert reply["ETag"] != tag
    until(lambda: daemon.ask("/v1/images/one/meta").json()["size_bytes"] == 12, SHOWS_WITHIN)
    assert daemon.ask("/v1/images/one/meta")["ETag"] == reply["ETag"]
    assert daemon.ask("/v1/images/one", fields={"If-Match": tag}).status == 412


def test_replaced_image_of_the_same_size_shows(daemon: Daemon) -> None:
    """A new file of equal size shows by its mtime."""
    put(daemon.root / "one.img", b"eno", (SECONDS, NANOS + 1))
    until(lambda: daemon.ask("/v1/images/one").body == b"eno", SHOWS_WITHIN)
    assert daemon.ask("/v1/images/one")["ETag"] == tag_of(b"eno", (SECONDS, NANOS + 1))


@pytest.mark.parametrize("mtime", [0, 1, 315_532_800], ids=["OSTree", "Nix", "ZIP"])
def test_replaced_image_of_the_same_size_and_constant_mtime(daemon: Daemon, mtime: int) -> None:
    """A new file of equal size is another, though the build system gave both the same mtime: no 304, no splicing."""
    put(daemon.root / "one.img", b"old", (mtime, 0))
    until(lambda: daemon.ask("/v1/images/one").body == b"old", SHOWS_WITHIN)
    old = daemon.ask("/v1/images/one")
    assert "last-modified" not in old.names
    put(daemon.root / "one.img", b"new", (mtime, 0))
    until(lambda: daemon.ask("/v1/images/one").body == b"new", SHOWS_WITHIN)
    assert daemon.ask("/v1/images/one", fields={"If-None-Match": old["ETag"]}).status == 200
    spliced = daemon.ask("/v1/images/one", fields={"Range": "bytes=1-", "If-Range": old["ETag"]})
    assert (spliced.status, spliced.body) == (200, b"new")


def test_chunk_of_constant_mtime(daemon: Daemon) -> None:
    """Chunk objects of equal size and constant mtime have different tags too."""
    chunk = daemon.root / "chunked" / "one" / "chunks" / "00000000.bin"
    chunk.parent.mkdir(parents=True, exist_ok=True)
    target = "/v1/images/one/chunked/chunks/00000000.bin"
    put(chunk, b"old", (1, 0))
    daemon.copy()
    until(lambda: daemon.ask(target).body == b"old", SHOWS_WITHIN)
    old = daemon.ask(target)
    put(chunk, b"new", (1, 0))
    until(lambda: daemon.ask(target).body == b"new", SHOWS_WITHIN)
    new = daemon.ask(target, fields={"If-None-Match": old["ETag"]})
    assert (old.body, new.body, "last-modified" in old.names | new.names) == (b"old", b"new", False)


def test_mtime_to_come(daemon: Daemon) -> None:
    """A file time later than `Date` is not sent, holds in no condition, and `meta` shows it as it is."""
    put(daemon.root / "one.img", b"future", (4_000_000_000, 0))
    until(lambda: daemon.ask("/v1/images/one").body == b"future", SHOWS_WITHIN)
    date = "Sat, 02 Oct 2096 07:06:40 GMT"
    for target in ("/v1/images/one", "/v1/images/one/meta"):
        for fields in ({}, {"If-Modified-Since": date}, {"If-Unmodified-Since": "Thu, 01 Jan 2015 00:00:00 GMT"}):
            reply = daemon.ask(target, fields=fields)
            assert (reply.status, "last-modified" in reply.names) == (200, False)
    assert daemon.ask("/v1/images/one", fields={"Range": "bytes=0-0", "If-Range": date}).status == 200
    assert daemon.ask("/v1/images/one/meta").json()["last_modified"] == "2096-10-02T07:06:40Z"


def test_young_date_in_if_range(daemon: Daemon) -> None:
    """A date in `If-Range` holds only if the `Date` of the response is at least a second later."""
    second = int(time.time())
    put(daemon.root / "one.img", b"young", (second, 0))
    until(lambda: daemon.ask("/v1/images/one").body == b"young", SHOWS_WITHIN)
    date = formatdate(second, usegmt=True)
    reply = daemon.ask("/v1/images/one", fields={"Range": "bytes=0-0", "If-Range": date})
    assert reply["Last-Modified"] == date
    assert reply.status == (200 if reply["Date"] == date else 206)


def test_image_replaced_by_a_link_out(daemon: Daemon, tmp_path: Path) -> None:
    """A file that becomes a symlink out of the root becomes a 404."""
    secret = write(tmp_path / "secret", b"secret")
    fresh = daemon.root / ".fresh"
    fresh.symlink_to(secret)
    fresh.replace(daemon.root / "one.img")
    until(lambda: daemon.ask("/v1/images/one").status == 404, SHOWS_WITHIN)
    (daemon.root / "one.img").unlink()


def test_pointer_of_the_catalog_moves(daemon: Daemon) -> None:
    """An entry that points at another file serves that file from then on."""
    write(daemon.root / "two.img", b"second")
    put_catalog(daemon.root, [entry("disk"), entry("one", "two.img", public=False)])
    until(lambda: daemon.ask("/v1/images/one").body == b"second", SHOWS_WITHIN)
    assert daemon.ask("/v1/images/one")["Cache-Control"] == "private, no-store, no-transform"


@pytest.mark.parametrize(
    "document", ["broken", [{"id": "disk", "file": "disk.img", "name": "d"}]], ids=["invalid", "without"]
)
def test_reload_cuts_no_stream(daemon: Daemon, document: object) -> None:
    """A stream in flight runs to its end whatever becomes of the catalog."""
    write(daemon.root / "wide.img", wide_bytes())
    put_catalog(daemon.root, [entry("disk"), entry("wide", "wide.img")])
    until(lambda: _ids(daemon) == ["disk", "wide"], SHOWS_WITHIN)
    with daemon.dial(receive_buffer=65536) as conn:
        conn.send(head("GET", "/v1/images/wide"))
        assert conn.reply_head().length == WIDE_SIZE
        since = daemon.log_size()
        put_catalog(daemon.root, document)
        daemon.hang_up()
        if document == "broken":
            daemon.line(_is_error, since, SHOWS_WITHIN)
        else:
            until(lambda: _ids(daemon) == ["disk"], SHOWS_WITHIN)
        assert conn.take(WIDE_SIZE, 30) == wide_bytes()
        assert conn.ask("GET", "/healthz").status == 200


def _unserved(daemon: Daemon, since: int) -> list[tuple[str, str]]:
    lines = [line for line in daemon.lines(since) if line["message"] == "catalog entry cannot be served"]
    assert {line["level"] for line in lines} <= {"warn"}
    return sorted((line["image_id"], line["reason"]) for line in lines)


def test_entries_that_cannot_be_served(daemon: Daemon, tmp_path: Path) -> None:
    """An entry whose file is missing or outside is one warning with the reason, and again when that has changed."""
    since = daemon.log_size()
    (daemon.root / "out.img").symlink_to(write(tmp_path / "secret", b"secret"))
    entries = [entry("disk"), entry("one", "one.img"), entry("gone", "gone.img"), entry("out", "out.img")]
    put_catalog(daemon.root, entries)
    first = [("gone", "gone.img: No such file or directory"), ("out", "out.img: outside the images root")]
    until(lambda: _unserved(daemon, since) == first, 4)
    since = daemon.log_size()
    put_catalog(daemon.root, [*entries, entry("none", "none.img")])
    put(daemon.root / "gone.img", b"here")
    (daemon.root / "one.img").unlink()
    second = [("none", "none.img: No such file or directory"), ("one", "one.img: No such file or directory")]
    until(lambda: _unserved(daemon, since) == second, 4)
    since = daemon.log_size()
    (daemon.root / "gone.img").unlink()
    until(lambda: _unserved(daemon, since), 4)
    assert _unserved(daemon, since) == first[:1]
    (daemon.root / "out.img").unlink()
