"""http.md §1: no name that a client sends ever reaches the file system unless it is a valid id under the root."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running
from tests.blackbox.image_roots import DISK, ODD_IDS, entry, put_catalog, write
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Reply

SETPRIV = shutil.which("setpriv")
MARK = "zqx"
# Each is one raw path segment; `zqx` in it lets the test see any echo of it.
ENCODED = {
    "slash": "zqx%2Fdisk",
    "slash-lower": "disk%2fzqx",
    "slash-first": "%2Fzqx",
    "slash-last": "zqx%2F",
    "slash-meta": "zqx%2Fmeta",
    "traversal": "..%2f..%2f..%2fetc%2fzqx",
    "traversal-encoded": "%2e%2e%2f%2E%2Ezqx",
    "traversal-inside": "zqx%2f..%2fdisk",
    "backslash": "zqx%5Cdisk",
    "backslash-raw": "zqx\\disk",
    "backslash-up": "..%5c..%5czqx",
    "nul": "zqx%00",
    "nul-middle": "zqx%00.img",
    "nul-first": "%00zqx",
    "double-dots": "%252e%252ezqx",
    "double-slash": "zqx%252Fdisk",
    "double-letter": "zqx%2564isk",
    "triple": "zqx%25252F",
    "percent": "zqx%25",
    "escape-cut": "zqx%",
    "escape-one-digit": "zqx%4",
    "escape-bad": "zqx%zz",
    "escape-half-bad": "zqx%4g",
    "escape-unicode": "zqx%u002f",
    "escape-sign": "zqx%+1",
    "escape-blank": "zqx%%20",
    "utf8": "zqx%c3%a9",
    "latin1": "zqx%e9",
    "not-utf8": "zqx%ff%fe",
    "overlong-dot": "%c0%ae%c0%aezqx",
    "overlong-slash": "zqx%c0%af",
    "fullwidth-slash": "zqx%ef%bc%8f",
    "fullwidth-digit": "zqx%ef%bc%91",
    "division-slash": "zqx%e2%88%95",
    "surrogate": "zqx%ed%a0%80",
    "byte-order-mark": "%ef%bb%bfzqx",
    "rtl-override": "zqx%e2%80%ae",
    "blank": "zqx%20disk",
    "blank-last": "zqx%20",
    "plus": "zqx+disk",
    "tab": "zqx%09",
    "line-feed": "zqx%0a",
    "line-feed-only-last": "disk.zqx%0A",
    "crlf": "zqx%0d%0aSet-Cookie:%20a=b",
    "delete": "zqx%7f",
    "escape-code": "zqx%1b%5b31m",
    "colon": "zqx:disk",
    "semicolon": "zqx;v=1",
    "at": "zqx@disk",
    "tilde": "~zqx",
    "star": "zqx*",
    "quote": "zqx%22",
    "apostrophe": "zqx'",
    "tag": "%3Cscript%3Ezqx%3C",
    "braces": "zqx{}",
    "brace-format": "zqx%7Brequest%7D",
    "percent-format": "zqx%25s%25n",
    "dollar": "$zqx",
    "comma": "zqx,disk",
    "equals": "zqx=1",
    "ampersand": "zqx&b",
    "bang": "zqx!",
    "parentheses": "zqx()",
    "query-encoded": "zqx%3Fa",
    "fragment-encoded": "zqx%23a",
    "129": "zqx" + "a" * 126,
    "129-encoded": "%7a%71%78zqx" + "%61" * 123,
    "385-raw": "zqx" + "%61" * 128,
    "1000": "zqx" + "a" * 997,
}
DOTS = {"dot": ".", "dots": "..", "dot-encoded": "%2e", "dots-encoded": "%2e%2E", "dots-half": ".%2e", "empty": ""}
HOPELESS = {
    "byte-ff": b"zqx\xff",
    "utf8-raw": "zqxé".encode(),
    "nul-raw": b"zqx\x00",
    "delete-raw": b"zqx\x7f",
    "tab-raw": b"zqx\tdisk",
    "blank-raw": b"zqx disk",
    "return-raw": b"zqx\rdisk",
    "line-feed-raw": b"zqx\ndisk",
    "fragment-raw": b"zqx#disk",
    "4000": b"zqx" + b"a" * 4000,
    "9000": b"zqx" + b"%61" * 3000,
    "15000": b"zqx" + b"a" * 15000,
    "40000": b"zqx" + b"a" * 40000,
}


def _refused(reply: Reply, status: int) -> None:
    assert reply.status == status
    assert len(reply.body) <= 1024
    assert MARK.encode() not in reply.raw_head + reply.body


def _unlogged(store: Daemon, reply: Reply, since: int) -> None:
    line = store.complete(reply["X-Request-Id"])
    assert "image_id" not in line
    assert "<invalid>" in line["path"]
    assert MARK not in store.log_text(since)


@pytest.mark.parametrize("segment", [pytest.param(value, id=key) for key, value in (ENCODED | DOTS).items()])
@pytest.mark.parametrize("tail", ["", "/data"])
def test_invalid_id_on_the_data_plane(store: Daemon, segment: str, tail: str) -> None:
    """An invalid id is a 404 with an empty body, neither echoed nor logged."""
    since = store.log_size()
    reply = store.ask(f"/v1/images/{segment}{tail}", fields={"X-Request-Id": str(uuid.uuid4())})
    _refused(reply, 404)
    assert reply.body == b""
    assert reply["Cache-Control"] == "no-store, no-transform"
    _unlogged(store, reply, since)


@pytest.mark.parametrize("segment", [pytest.param(value, id=key) for key, value in (ENCODED | DOTS).items()])
def test_invalid_id_on_the_metadata_plane(store: Daemon, segment: str) -> None:
    """An invalid id is a 400 with a JSON error, neither echoed nor logged."""
    since = store.log_size()
    reply = store.ask(f"/v1/images/{segment}/meta", fields={"X-Request-Id": str(uuid.uuid4())})
    _refused(reply, 400)
    assert isinstance(reply.json()["error"], str)
    assert reply["Cache-Control"] == "no-store"
    _unlogged(store, reply, since)


@pytest.mark.parametrize("segment", [pytest.param(value, id=key) for key, value in HOPELESS.items()])
@pytest.mark.parametrize("tail", [b"", b"/data", b"/meta"], ids=["image", "data", "meta"])
def test_target_that_cannot_be_digested(store: Daemon, segment: bytes, tail: bytes) -> None:
    """Raw bytes that no URL may hold, and lengths beyond all measure, are a 4xx and are not echoed."""
    since = store.log_size()
    with store.dial() as conn:
        conn.send(head("GET", b"/v1/images/" + segment + tail))
        reply = conn.reply()
    assert 400 <= reply.status < 500
    assert len(reply.body) <= 1024
    assert MARK.encode() not in reply.raw_head + reply.body
    store.complete(reply["X-Request-Id"])
    assert MARK not in store.log_text(since)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_no_traceback_and_no_500_in_the_metrics(store: Daemon, method: str) -> None:
    """After a hostile id nothing in the log speaks of an exception."""
    since = store.log_size()
    reply, line = store.traced("/v1/images/%ff%00%2f..", method)
    assert (reply.status, line["status"]) == (404, 404)
    assert "Traceback" not in store.log_text(since)


@pytest.mark.parametrize("image_id", ODD_IDS)
@pytest.mark.parametrize("tail", ["", "/data", "/meta"])
def test_odd_but_valid_ids(store: Daemon, image_id: str, tail: str) -> None:
    """Every id that the rule allows works on every route."""
    reply = store.ask(f"/v1/images/{image_id}{tail}", "HEAD")
    assert reply.status == 200


@pytest.mark.parametrize(
    "segment",
    ["%64isk", "%64%69%73%6B", "%64%69%73%6b", "d%69sk", "%78" * 128],
    ids=["first", "all-upper", "all-lower", "inside", "384-raw"],
)
def test_escapes_are_decoded_once(store: Daemon, segment: str) -> None:
    """The rule applies to the decoded segment, so an escaped valid id is the id itself."""
    assert store.ask(f"/v1/images/{segment}", "HEAD").status == 200
    assert store.ask(f"/v1/images/{segment}/meta", "HEAD").status == 200


def test_unknown_id_of_full_length(store: Daemon) -> None:
    """A valid id of 128 characters that is in no catalog is a 404 on both planes."""
    assert store.ask("/v1/images/" + "u" * 128).status == 404
    assert store.ask("/v1/images/" + "u" * 128 + "/meta").status == 404


def test_encoded_slash_never_reaches_the_meta_route(store: Daemon) -> None:
    """`disk%2Fmeta` is one (invalid) segment of the data plane, not the metadata of `disk`."""
    reply, line = store.traced("/v1/images/disk%2Fmeta")
    assert reply.status == 404
    assert line["route"] == "/v1/images/:image_id"


# What catalog entries of the crooked root point at, and what becomes of them.
CROOKED = {
    "out": 404,
    "out-relative": 404,
    "sibling": 404,
    "through-dir": 404,
    "dangling": 404,
    "loop": 404,
    "device": 404,
    "dir": 404,
    "dir-link": 404,
    "root-itself": 404,
    "below-file": 404,
    "fifo": 404,
    "fifo-link": 404,
    "socket": 404,
    "missing": 404,
    "inside": 200,
    "inside-chain": 200,
    "inside-dir": 200,
    "out-and-back": 200,
    "plain": 200,
}
_FILES = {
    "through-dir": "outdir/secret.img",
    "inside-dir": "indir/disk.img",
    "root-itself": ".",
    "below-file": "disk.img/x",
}


def _crooked_root(root: Path) -> None:
    outside = root.parent / "outside"
    sibling = root.parent / f"{root.name}-sibling"
    write(outside / "secret.img", b"secret" * 100)
    write(sibling / "secret.img", b"secret" * 100)
    write(root / "disk.img", DISK)
    write(root / "real" / "disk.img", DISK)
    (outside / "back").symlink_to(root / "disk.img")
    links: dict[str, str | Path] = {
        "out": outside / "secret.img",
        "out-relative": "../outside/secret.img",
        "sibling": sibling / "secret.img",
        "outdir": outside,
        "dangling": "nothing",
        "loop": "loop",
        "device": "/dev/zero",
        "dir-link": "real",
        "fifo-link": "fifo",
        "inside": root / "disk.img",
        "inside-chain": "inside",
        "indir": "real",
        "out-and-back": outside / "back",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "dir").mkdir()
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        # A short relative name: a socket's path may hold 107 bytes only.
        before = os.getcwd()  # noqa: PTH109
        os.chdir(root)
        unix.bind("socket")
        os.chdir(before)
    plain = {"plain": "disk.img"}
    put_catalog(root, [entry(name, (_FILES | plain).get(name, name)) for name in CROOKED])


@pytest.fixture(scope="module")
def crooked(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon over a root full of things that are no images; the root itself is a symlink."""
    path = home("crooked")
    _crooked_root(path / "images")
    (path / "link").symlink_to("images")
    with running(path, "--images-root", str(path / "link")) as daemon:
        yield daemon


@pytest.mark.parametrize(("name", "status"), CROOKED.items())
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_only_regular_files_under_the_root(crooked: Daemon, method: str, name: str, status: int) -> None:
    """Links out of the root, directories, pipes and sockets are 404; links within the root are served."""
    reply = crooked.ask(f"/v1/images/{name}", method)
    assert reply.status == status
    assert reply.body == (DISK if method == "GET" and status == 200 else b"")


@pytest.mark.parametrize(("name", "status"), CROOKED.items())
def test_metadata_of_what_is_no_file(crooked: Daemon, name: str, status: int) -> None:
    """The metadata plane agrees with the data plane on what exists."""
    reply = crooked.ask(f"/v1/images/{name}/meta")
    assert reply.status == status
    assert ("error" in reply.json()) == (status == 404)


def test_list_leaves_out_what_is_no_file(crooked: Daemon) -> None:
    """The list holds exactly the images that can be served, in the catalog's order."""
    listed = [image["id"] for image in crooked.ask("/v1/images").json()]
    assert listed == [name for name, status in CROOKED.items() if status == 200]


@pytest.mark.parametrize("path", ["/readyz", "/ready"])
def test_not_ready_with_images_missing(crooked: Daemon, path: str) -> None:
    """An entry without file and without chunk manifest makes the server not ready."""
    reply = crooked.ask(path)
    assert reply.status == 503
    assert reply.json() == {"status": "error"}
    assert reply["Cache-Control"] == "no-store"


@pytest.mark.skipif(os.geteuid() == 0 and not SETPRIV, reason="root may read everything")
def test_unreadable_file_is_a_500(small_home: Callable[[str], Path]) -> None:
    """A file that cannot be read is a 500 and counts as a store error of kind `open_range`."""
    path = small_home("unreadable")
    (path / "images" / "disk.img").chmod(0)
    # Root reads what it likes by these two capabilities; a daemon of root's goes without them here.
    without = "--bounding-set=-dac_override,-dac_read_search"
    with running(path, prefix=(str(SETPRIV), without) if os.geteuid() == 0 else ()) as daemon:
        before = daemon.metrics()
        reply = daemon.ask("/v1/images/disk")
        assert reply.status == 500
        assert reply.body == b""
        assert reply["Cache-Control"] == "no-store, no-transform"
        daemon.rises(before, 1, "store_errors_total", kind="open_range")
        assert daemon.ask("/v1/images/empty").status == 200
