"""http.md §15: boot profiles, links to them, and their bytes brought into memory ahead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import SHOWS_WITHIN, environment, running, until
from tests.blackbox.image_roots import (
    DISK,
    OVER_BUCKET,
    SIZE,
    VERSION,
    entry,
    profile_of,
    put,
    put_profile,
    small_root,
    tag_of,
    version_of,
    write,
)
from tests.blackbox.leased_root import lease, leased

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Reply

IMAGE = "/v1/images/disk"
PROFILE = f"{IMAGE}/profile"
LINK = '</v1/images/disk/profile>; rel="urn:aero-storage:profile"'
PROGRAM = Path(sys.executable).parent / "aero-storage"
WARMED = "aero_storage_profile_warmed_bytes_total"
OTHER = DISK[::-1]


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon that the tests below leave as it is."""
    path = home("profiles")
    root = small_root(path / "images", entry("sliced", "sliced.img", virtual_chunks=True))
    write(root / "sliced.img", DISK[:131_072])
    put_profile(root, "disk", VERSION)
    put_profile(root, "disk", VERSION, name="desk.top")
    put_profile(root, "weak", VERSION)
    put_profile(root, "tagged", VERSION)
    sliced = version_of(131_072, tag_of(DISK[:131_072]))
    put_profile(root, "sliced", sliced, profile_of("sliced", sliced, 131_072, ranges=[[0, 1, 0, 100]], bytes=65536))
    with running(path) as found:
        yield found


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [PROFILE, f"{IMAGE}/versions/{VERSION}/profile"])
def test_the_document(daemon: Daemon, path: str, method: str) -> None:
    """It is JSON of the metadata plane with a tag over its body, under both URLs, and to be asked for anew."""
    reply = daemon.ask(path, method)
    assert reply.status == 200
    assert reply["Content-Type"] == "application/json"
    assert reply["Cache-Control"] == "no-cache"
    assert reply.get("Last-Modified") is None
    assert reply["Content-Length"] == str(len(profile_of("disk", VERSION)))
    assert reply["ETag"].startswith('"')
    assert reply["Access-Control-Expose-Headers"] == "ETag, Last-Modified, Cache-Control"
    if method == "GET":
        assert json.loads(reply.body) == json.loads(profile_of("disk", VERSION))
    known = daemon.ask(path, method, {"If-None-Match": reply["ETag"]})
    assert (known.status, known.body, known["ETag"]) == (304, b"", reply["ETag"])
    assert daemon.ask(path, method, {"If-Match": '"other"'}).status == 412


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?name=boot", 200),
        ("?name=desk.top", 200),
        ("?name=%64esk%2Etop", 200),
        ("?x=1&name=desk.top&name=none", 200),
        ("?Name=none", 200),
        ("?name=none", 404),
        ("?name=", 400),
        ("?name", 400),
        ("?name=..", 400),
        ("?name=a/b", 400),
        ("?name=..%2Fboot", 400),
        (f"?name={'a' * 129}", 400),
        ("?name=desk+top", 400),
    ],
)
def test_names(daemon: Daemon, query: str, status: int) -> None:
    """The first `name` counts, by the rule of ids."""
    reply = daemon.ask(PROFILE + query)
    assert reply.status == status
    if status == 200:
        assert json.loads(reply.body)["name"] == ("boot" if "oot" in query or "Name" in query else "desk.top")
    else:
        assert "error" in reply.json()
        assert reply["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/images/empty/profile", 404),
        ("/v1/images/nosuch/profile", 404),
        ("/v1/images/%2e%2e/profile", 400),
        ("/v1/images/weak/profile", 404),  # it has no version
        ("/v1/images/tagged/profile", 404),  # the stored one is of another version
        (f"{IMAGE}/versions/v-other/profile", 404),
        (f"{IMAGE}/versions/..%2f/profile", 404),
        (f"/v1/images/tagged/versions/{VERSION}/profile", 404),
        (f"{PROFILE}/", 404),
    ],
)
def test_what_is_not_there(daemon: Daemon, path: str, status: int) -> None:
    """A profile is served for the version that it was learned from, and for no other."""
    reply = daemon.ask(path)
    assert reply.status == status
    assert "no-store" in reply["Cache-Control"]


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        (IMAGE, {}, 200),
        (f"{IMAGE}/data", {}, 200),
        (f"{IMAGE}/versions/{VERSION}", {}, 200),
        (f"{IMAGE}/versions/{VERSION}/data", {"Range": "bytes=0-9"}, 206),
        (IMAGE, {"Range": "bytes=0-4095"}, 206),
        (IMAGE, {"If-None-Match": "*"}, 304),
        (f"{IMAGE}/meta", {}, 200),
        (f"{IMAGE}/meta", {"If-None-Match": "*"}, 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_links(daemon: Daemon, path: str, fields: dict[str, str], status: int, method: str) -> None:
    """Bytes and metadata say that there is a boot profile, and scripts may read it; also from memory."""
    for _ in range(3):
        reply = daemon.ask(path, method, fields)
        assert (reply.status, reply["Link"]) == (status, LINK)
        assert "Link" in reply["Access-Control-Expose-Headers"].split(", ")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/images/tagged", {}),
        ("/v1/images/weak", {}),
        ("/v1/images/private/meta", {}),
        (IMAGE, {"Range": "bytes=9999999-"}),
        (IMAGE, {"If-Match": '"other"'}),
        ("/v1/images", {}),
        (PROFILE, {}),
        ("/v1/images/sliced/chunked/manifest.json", {}),
        ("/v1/images/sliced/chunked/chunks/00000000.bin", {}),
    ],
)
def test_no_links(daemon: Daemon, path: str, fields: dict[str, str]) -> None:
    """Nothing else links to one: neither errors, nor chunks, nor images without a profile of their version."""
    assert daemon.ask(path, fields=fields).get("Link") is None


def test_the_line_in_the_log(daemon: Daemon) -> None:
    """The line of a profile tells the version, so that the next one can be learned without its readers."""
    _, line = daemon.traced(PROFILE)
    assert (line["route"], line["version"]) == ("/v1/images/:image_id/profile", VERSION)
    _, line = daemon.traced(f"{PROFILE}?name=none")
    assert (line["status"], line["reason"]) == (404, "existence")
    assert "name=none" not in daemon.log_text()


def test_the_lines_of_published_chunks(home: Callable[[str], Path]) -> None:
    """A chunk of the version that the catalog names is told with the version of the image; others are not."""
    path = home("published")
    root = small_root(path / "images", entry("cut", chunked_version="v1"), entry("raw-less", "none.img"))
    for place in ("cut/v1", "cut/v0", "raw-less"):
        write(root / "chunked" / place / "manifest.json", b"{}")
        write(root / "chunked" / place / "chunks" / "00000000.bin", b"c" * 4096)
    with running(path) as daemon:
        for chunk, version in (
            ("cut/chunked/chunks/00000000.bin", VERSION),
            ("cut/chunked/v1/chunks/00000000.bin", VERSION),
            ("cut/chunked/v0/chunks/00000000.bin", None),
            ("raw-less/chunked/chunks/00000000.bin", None),
        ):
            for _ in range(2):
                reply, line = daemon.traced(f"/v1/images/{chunk}")
                assert (reply.status, line.get("version"), line.get("range")) == (200, version, None)


def test_changes_show(home: Callable[[str], Path]) -> None:
    """A profile that comes, changes, breaks, goes or is outdated shows, without a restart."""
    path = home("profile-changes")
    root = small_root(path / "images")

    def links(daemon: Daemon) -> bool:
        return daemon.ask(IMAGE, fields={"Range": "bytes=0-9"}).get("Link") is not None

    with running(path) as daemon:
        assert not links(daemon)
        assert daemon.ask(PROFILE).status == 404
        file = put_profile(root, "disk", VERSION)
        until(lambda: links(daemon), SHOWS_WITHIN)
        until(lambda: daemon.ask(PROFILE).status == 200, SHOWS_WITHIN)
        first = daemon.ask(PROFILE)["ETag"]
        put(file, profile_of("disk", VERSION, sessions=9))
        until(lambda: daemon.ask(PROFILE)["ETag"] != first, SHOWS_WITHIN)
        put(file, b"no JSON")
        until(lambda: not links(daemon), SHOWS_WITHIN)
        assert daemon.ask(PROFILE).status == 404
        told = daemon.line(lambda line: line["message"] == "stored boot profile is not valid")
        assert told["file"] == f"profiles/disk/{VERSION}/boot.json"
        put_profile(root, "disk", VERSION)
        until(lambda: links(daemon), SHOWS_WITHIN)
        file.unlink()
        until(lambda: not links(daemon), SHOWS_WITHIN)
        assert daemon.ask(PROFILE).status == 404
        put_profile(root, "disk", VERSION)
        until(lambda: links(daemon), SHOWS_WITHIN)
        assert daemon.log_text().count("stored boot profile is not valid") == 1
        put(root / "disk.img", OTHER)
        until(lambda: daemon.ask(IMAGE).body == OTHER, SHOWS_WITHIN)
        assert not links(daemon)
        assert daemon.ask(PROFILE).status == 404


def test_profiles_are_warmed(home: Callable[[str], Path]) -> None:
    """At the start, and when one comes, its units are brought in; with --no-warm-profiles nothing is."""
    path = home("warm")
    root = small_root(path / "images", entry("other", "other.img"))
    write(root / "other.img", OTHER)
    put_profile(root, "disk", VERSION)
    flags = ("--cache-dir", str(home("warm-cache"))) if OVER_BUCKET else ()
    with running(path, *flags) as daemon:
        line = daemon.line(lambda line: line["message"] == "boot profile warmed")
        assert (line["image_id"], line["version"], line["bytes"]) == ("disk", VERSION, SIZE - 65536)
        assert daemon.metrics().value(WARMED) == SIZE - 65536
        version = version_of(SIZE, tag_of(OTHER))
        put_profile(root, "other", version)
        daemon.line(lambda line: line["message"] == "boot profile warmed" and line["image_id"] == "other", seconds=20)
        if OVER_BUCKET:
            _, line = daemon.traced("/v1/images/other", fields={"Range": "bytes=0-9"})
            assert line["origin_bytes"] == 0
    path = home("cold")
    put_profile(small_root(path / "images"), "disk", VERSION)
    with running(path, "--no-warm-profiles") as daemon:
        until(lambda: daemon.ask(PROFILE).status == 200, SHOWS_WITHIN)
        assert daemon.metrics().value(WARMED) == 0
        assert not [line for line in daemon.lines() if line["message"] == "boot profile warmed"]


def test_private_images_link_for_holders_of_a_lease(home: Callable[[str], Path]) -> None:
    """A profile of a private image is as private as its metadata."""
    with leased(home("private-profile")) as daemon:
        fields = {"Authorization": f"Bearer {lease('secret')}"}
        assert daemon.ask("/v1/images/secret", fields=fields)["Link"].startswith("</v1/images/secret/profile>")
        assert daemon.ask("/v1/images/secret").get("Link") is None
        reply: Reply = daemon.ask("/v1/images/secret/profile", fields=fields)
        assert (reply.status, reply["Cache-Control"]) == (200, "private, no-store, no-transform")
        assert daemon.ask("/v1/images/secret/profile").status == 401


@pytest.mark.skipif(OVER_BUCKET, reason="the command writes to the directory that a mirror copies")
def test_a_profile_is_learned_from_the_log_of_the_daemon(home: Callable[[str], Path]) -> None:
    """Requests as a boot makes them, then `aero-storage profile learn`: what they read is in the profile."""
    path = home("learned")
    sliced = entry("sliced", "sliced.img", virtual_chunks=True, recommended_chunk_size_bytes=131_072)
    write(small_root(path / "images", sliced) / "sliced.img", DISK[:294_912])
    words = ("--images-root", str(path / "images"), "--json")

    def learn(image_id: str) -> dict[str, object]:
        done = subprocess.run(
            [PROGRAM, "profile", "learn", image_id, path / "log", *words],
            env=environment(os.environ),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    with running(path) as daemon:
        for user in ("a", "b", "c"):
            for first in (0, 4 * 65536, 65536):
                fields = {"Range": f"bytes={first}-{first + 4095}", "X-Aero-User-Id": user}
                assert daemon.traced(IMAGE, fields=fields)[0].status == 206
        for name in ("00000000.bin", "00000002.bin"):
            assert daemon.traced(f"/v1/images/sliced/chunked/chunks/{name}")[0].status == 200
        found = learn("disk")
        assert (found["sessions"], found["version"], found["malformed"]) == (3, VERSION, 0)
        until(lambda: daemon.ask(PROFILE).status == 200, SHOWS_WITHIN)
        rows = json.loads(daemon.ask(PROFILE).body)["ranges"]
        assert sorted(row[:2] for row in rows) == [[0, 2], [4, 1]]
        assert {row[3] for row in rows} == {100}
        assert learn("sliced")["sessions"] == 1
        until(lambda: daemon.ask("/v1/images/sliced/profile").status == 200, SHOWS_WITHIN)
        rows = json.loads(daemon.ask("/v1/images/sliced/profile").body)["ranges"]
        assert sorted(row[:2] for row in rows) == [[0, 2], [4, 1]]
