"""http.md §16: digests that the catalog records, in tags, metadata and headers."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import SHOWS_WITHIN, running, until
from tests.blackbox.image_roots import (
    NANOS,
    OVER_BUCKET,
    SECONDS,
    chunk_manifest,
    entry,
    put,
    put_catalog,
    tag_of,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon

OLD, NEW = os.urandom(100_000), os.urandom(100_000)
MTIME = SECONDS * 10**9 + NANOS
FILE_TAG = tag_of(OLD)


def hexed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tag(data: bytes) -> str:
    return f'"sha256-{hexed(data)}"'


def field(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


def stamp(size: int = len(OLD), mtime_ns: int = MTIME, data: bytes = OLD) -> str:
    """Return what `sha256_of` has for a file, or for an object."""
    if OVER_BUCKET and mtime_ns == MTIME:
        return f'{size}-"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
    return f"{size}-{mtime_ns}"


@pytest.fixture(scope="module")
def running_daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """One daemon for all tests here."""
    path = home("digests")
    root = path / "images"
    root.mkdir(parents=True, exist_ok=True)
    put(root / "one.img", OLD, (SECONDS, NANOS))
    put_catalog(root, [entry("one", "one.img")])
    with running(path, "--max-range-bytes", "50000") as daemon:
        yield daemon


@pytest.fixture
def daemon(running_daemon: Daemon) -> Daemon:
    """The daemon with the old file in place."""
    put_catalog(running_daemon.root, [entry("one", "one.img")])
    put(running_daemon.root / "one.img", OLD, (SECONDS, NANOS))
    until(lambda: running_daemon.ask("/v1/images/one", "HEAD")["ETag"] == FILE_TAG, SHOWS_WITHIN)
    until(lambda: running_daemon.ask("/v1/images/one").body == OLD, SHOWS_WITHIN)
    return running_daemon


def serve(daemon: Daemon, expected: str, **keys: object) -> None:
    """Put a catalog in place, and wait until its entry shows."""
    put_catalog(daemon.root, [entry("one", "one.img", **keys)])
    until(lambda: daemon.ask("/v1/images/one", "HEAD").get("ETag") == expected, SHOWS_WITHIN)


@pytest.mark.parametrize("keys", [{}, {"sha256_of": stamp()}], ids=repr)
def test_known_digest(daemon: Daemon, keys: dict[str, str]) -> None:
    """A digest in any case makes the tag and `Repr-Digest` of 200, 206, 304 and HEAD, and is in the metadata."""
    serve(daemon, tag(OLD), sha256=hexed(OLD).upper(), **keys)
    whole, part, none, head, late = (
        daemon.ask("/v1/images/one", method, fields=fields)
        for method, fields in (
            ("GET", {}),
            ("GET", {"Range": "bytes=10-19", "If-Range": tag(OLD)}),
            ("GET", {"If-None-Match": tag(OLD)}),
            ("HEAD", {}),
            ("GET", {"Range": "bytes=10-19", "If-Range": FILE_TAG}),
        )
    )
    assert [reply.status for reply in (whole, part, none, head, late)] == [200, 206, 304, 200, 200]
    assert (whole.body, part.body, late.body) == (OLD, OLD[10:20], OLD)
    for reply in (whole, part, none, head, late):
        assert (reply["ETag"], reply["Repr-Digest"]) == (tag(OLD), field(OLD))
        assert "repr-digest" in reply["Access-Control-Expose-Headers"].lower()
    assert whole["Last-Modified"]
    told = daemon.ask("/v1/images/one/meta")
    assert (told.json()["sha256"], told.json()["etag"], told["ETag"]) == (hexed(OLD), tag(OLD), tag(OLD))
    until(lambda: daemon.ask("/v1/images").json() == [told.json()], SHOWS_WITHIN)  # a bucket is listed now and then


def test_head_is_get(daemon: Daemon) -> None:
    """HEAD has the headers of GET, the digest among them."""
    serve(daemon, tag(OLD), sha256=hexed(OLD))
    for fields in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": "*"}):
        replies = [daemon.ask("/v1/images/one", method, fields=fields) for method in ("GET", "HEAD")]
        own = [
            {name: value for name, value in reply.fields if name not in {"Date", "X-Request-Id"}} for reply in replies
        ]
        assert own[0] == own[1]
        assert "Repr-Digest" in own[0]


def test_errors_have_none(daemon: Daemon) -> None:
    """No error has a digest: 404, 405, 412, 413, 416."""
    serve(daemon, tag(OLD), sha256=hexed(OLD))
    for method, target, fields, status in (
        ("GET", "/v1/images/two", {}, 404),
        ("POST", "/v1/images/one", {}, 405),
        ("GET", "/v1/images/one", {"If-Match": '"x"'}, 412),
        ("GET", "/v1/images/one", {"Range": "bytes=0-50000"}, 413),
        ("GET", "/v1/images/one", {"Range": "bytes=100000-"}, 416),
    ):
        reply = daemon.ask(target, method, fields=fields)
        assert (reply.status, reply.get("Repr-Digest")) == (status, None)


def test_two_files_of_equal_size_and_mtime(daemon: Daemon) -> None:
    """A file replaced by another of equal size and mtime has another tag: neither 304 nor a spliced range."""
    serve(daemon, tag(OLD), sha256=hexed(OLD), sha256_of=stamp())
    put(daemon.root / "one.img", NEW, (SECONDS, NANOS))
    serve(daemon, tag(NEW), sha256=hexed(NEW), sha256_of=stamp(data=NEW))
    assert daemon.ask("/v1/images/one", fields={"If-None-Match": tag(OLD)}).status == 200
    spliced = daemon.ask("/v1/images/one", fields={"Range": "bytes=1-9", "If-Range": tag(OLD)})
    assert (spliced.status, spliced.body) == (200, NEW)
    assert daemon.ask("/v1/images/one", fields={"Range": "bytes=1-9", "If-Range": tag(NEW)}).body == NEW[1:10]


@pytest.mark.parametrize("of", [stamp(len(OLD) + 1), stamp(mtime_ns=MTIME + 1)])
def test_digest_of_another_state(daemon: Daemon, of: str) -> None:
    """A digest of another state of the file counts as unset; the log says so once."""
    serve(daemon, tag(OLD), sha256=hexed(OLD))
    since = daemon.log_size()
    serve(daemon, FILE_TAG, sha256=hexed(OLD), sha256_of=of)
    reply = daemon.ask("/v1/images/one")
    assert (reply["ETag"], reply.get("Repr-Digest"), reply.body) == (FILE_TAG, None, OLD)
    assert "sha256" not in daemon.ask("/v1/images/one/meta").json()
    line = daemon.line(lambda line: line["message"] == "catalog entry has the digest of another file", since)
    assert (line["level"], line["image_id"], line["file"]) == ("warn", "one", "one.img")
    assert line["reason"] == f"sha256_of is {of}, but the file is {stamp()}: its sha256 counts as unset"


def test_replaced_file(daemon: Daemon) -> None:
    """A recorded digest ends with the file that it was computed from, though nobody edits the catalog."""
    serve(daemon, tag(OLD), sha256=hexed(OLD), sha256_of=stamp())
    put(daemon.root / "one.img", NEW, (SECONDS, NANOS + 1))
    until(lambda: daemon.ask("/v1/images/one").body == NEW, SHOWS_WITHIN)
    reply = daemon.ask("/v1/images/one")
    assert (reply["ETag"], reply.get("Repr-Digest")) == (tag_of(NEW, (SECONDS, NANOS + 1)), None)


def test_tag_of_the_catalog(daemon: Daemon) -> None:
    """The catalog's own tag goes first; the digest is told all the same."""
    serve(daemon, 'W/"own"', sha256=hexed(OLD), etag='W/"own"')
    reply = daemon.ask("/v1/images/one", fields={"Range": "bytes=0-9"})
    assert (reply.status, reply["ETag"], reply["Repr-Digest"]) == (206, 'W/"own"', field(OLD))


def test_broken_keys(daemon: Daemon) -> None:
    """A digest that is none breaks the catalog; the last good one goes on serving."""
    serve(daemon, tag(OLD), sha256=hexed(OLD))
    for keys in ({"sha256": hexed(OLD)[1:]}, {"sha256": hexed(OLD), "sha256_of": "yesterday"}):
        since = daemon.log_size()
        put_catalog(daemon.root, [entry("one", "one.img", **keys)])
        line = daemon.line(lambda line: line["message"] == "catalog invalid", since)
        assert "images[0] (one): sha256" in str(line["reason"])
        assert daemon.ask("/v1/images/one")["ETag"] == tag(OLD)


CHUNK = 1024
PARTS = OLD[:CHUNK], OLD[CHUNK : 2 * CHUNK], OLD[2 * CHUNK : 2 * CHUNK + 512]
MANIFEST = chunk_manifest(b"".join(PARTS), CHUNK)


def put_chunks(daemon: Daemon, image_id: str, manifest: bytes, parts: tuple[bytes, ...] = PARTS) -> str:
    """Put a chunked image below the root, and return the address of its chunks."""
    place = daemon.root / "chunked" / image_id
    write(place / "manifest.json", manifest)
    for number, part in enumerate(parts):
        write(place / f"chunks/{number:08}.bin", part)
    put_catalog(daemon.root, [entry("one", "one.img"), entry(image_id, "gone.img")])
    until(lambda: daemon.ask(f"/v1/images/{image_id}/chunked/manifest").body == manifest, SHOWS_WITHIN)
    return f"/v1/images/{image_id}/chunked/chunks"


def test_published_chunks(daemon: Daemon) -> None:
    """200, 304 and HEAD of a published chunk have its digest; its manifest and errors have none."""
    chunks = put_chunks(daemon, "chunked", MANIFEST)
    for _ in range(2):  # the second time from memory
        for number, part in enumerate(PARTS):
            target = f"{chunks}/{number:08}.bin"
            whole, head = daemon.ask(target), daemon.ask(target, "HEAD")
            none = daemon.ask(target, fields={"If-None-Match": whole["ETag"]})
            ranged = daemon.ask(target, fields={"Range": "bytes=1-2"})
            assert [reply.status for reply in (whole, head, none, ranged)] == [200, 200, 304, 200]
            assert whole.body == part
            for reply in (whole, head, none, ranged):
                assert reply["Repr-Digest"] == field(part)
                assert "repr-digest" in reply["Access-Control-Expose-Headers"].lower()
            failed = daemon.ask(target, fields={"If-Match": '"x"'})
            assert (failed.status, failed.get("Repr-Digest")) == (412, None)
    for target in ("/v1/images/chunked/chunked/manifest", f"{chunks}/00000003.bin"):
        assert daemon.ask(target).get("Repr-Digest") is None


def test_chunks_of_another_size(daemon: Daemon) -> None:
    """A chunk whose size is not that of its entry has no digest; the others keep theirs."""
    chunks = put_chunks(daemon, "short", MANIFEST, (PARTS[0], PARTS[1][:-1], PARTS[2]))
    told = [daemon.ask(f"{chunks}/{number:08}.bin").get("Repr-Digest") for number in range(3)]
    assert told == [field(PARTS[0]), None, field(PARTS[2])]


def test_manifest_of_another_program(daemon: Daemon) -> None:
    """Digests are believed only in a manifest in the form of `publish`; chunks are served with any."""
    for number, manifest in enumerate((json.dumps(json.loads(MANIFEST), indent=1).encode(), b"{}")):
        chunks = put_chunks(daemon, f"other-{number}", manifest)
        reply = daemon.ask(f"{chunks}/00000000.bin")
        assert (reply.status, reply.body, reply.get("Repr-Digest")) == (200, PARTS[0], None)


def test_chunks_published_anew(daemon: Daemon) -> None:
    """A chunk that is replaced together with its manifest has its new digest within a second."""
    chunks = put_chunks(daemon, "anew", MANIFEST)
    assert daemon.ask(f"{chunks}/00000000.bin")["Repr-Digest"] == field(PARTS[0])
    put_chunks(daemon, "anew", chunk_manifest(b"".join((NEW[:CHUNK], *PARTS[1:])), CHUNK), (NEW[:CHUNK], *PARTS[1:]))
    until(lambda: daemon.ask(f"{chunks}/00000000.bin").body == NEW[:CHUNK], SHOWS_WITHIN)
    until(lambda: daemon.ask(f"{chunks}/00000000.bin").get("Repr-Digest") == field(NEW[:CHUNK]), SHOWS_WITHIN)


def test_chunk_published_before_its_manifest(daemon: Daemon) -> None:
    """A chunk that is served already when its manifest is replaced has its new digest within a second."""
    parts = NEW[:CHUNK], *PARTS[1:]
    put_chunks(daemon, "later", MANIFEST)
    target = put_chunks(daemon, "later", MANIFEST, parts) + "/00000000.bin"
    until(lambda: daemon.ask(target).body == parts[0], SHOWS_WITHIN)
    assert [daemon.ask(target)["Repr-Digest"] for _ in range(2)] == [field(PARTS[0])] * 2
    write(daemon.root / "chunked/later/manifest.json", chunk_manifest(b"".join(parts), CHUNK))
    until(lambda: daemon.ask(target).get("Repr-Digest") == field(parts[0]), SHOWS_WITHIN)
