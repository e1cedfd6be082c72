"""http.md §5: bytes, ranges and their headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running
from tests.blackbox.image_roots import (
    BIG_SIZE,
    CATALOG_DATE,
    CATALOG_HTTP_DATE,
    DATA_EXPOSED,
    DISK,
    EARLIER,
    LATER,
    MARK,
    MARK_AT,
    MODIFIED,
    SIZE,
    TAG,
    TAIL,
    WIDE_SIZE,
    entry,
    put_catalog,
    small_root,
    wide_bytes,
)
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields, Reply

LIMIT = 8 << 20
LAST = SIZE - 1
BYTES_ROUTES = ("/v1/images/disk", "/v1/images/disk/data")
EXPOSED = set(DATA_EXPOSED)


def _is_part(reply: Reply, first: int, last: int, size: int = SIZE) -> None:
    assert reply.status == 206
    assert reply["Content-Range"] == f"bytes {first}-{last}/{size}"
    assert reply.length == last - first + 1
    assert reply.ending == "whole"


def _is_unsatisfiable(reply: Reply, size: int = SIZE) -> None:
    assert reply.status == 416
    assert reply["Content-Range"] == f"bytes */{size}"
    assert reply.body == b""
    assert reply["Cache-Control"] == "no-store, no-transform"


# Ranges of an image of 300,000 bytes and what they resolve to: first and last byte.
SATISFIABLE = {
    "bytes=0-0": (0, 0),
    "bytes=0-1": (0, 1),
    "bytes=5-9": (5, 9),
    "bytes=0-65535": (0, 65535),
    "bytes=0-65536": (0, 65536),
    "bytes=1-131072": (1, 131072),
    f"bytes=0-{LAST}": (0, LAST),
    f"bytes={LAST}-{LAST}": (LAST, LAST),
    f"bytes={LAST}-": (LAST, LAST),
    "bytes=0-": (0, LAST),
    "bytes=1-": (1, LAST),
    "bytes=250000-": (250_000, LAST),
    "bytes=-1": (LAST, LAST),
    "bytes=-5": (SIZE - 5, LAST),
    f"bytes=-{SIZE}": (0, LAST),
    f"bytes=-{SIZE + 1}": (0, LAST),
    "bytes=-999999999999": (0, LAST),
    f"bytes=-{2**64 - 1}": (0, LAST),
    f"bytes={LAST}-{SIZE}": (LAST, LAST),
    f"bytes=299990-{SIZE + 100}": (299_990, LAST),
    "bytes=299776-300031": (299_776, LAST),
    f"bytes=0-{2**31}": (0, LAST),
    f"bytes=0-{2**63}": (0, LAST),
    f"bytes=7-{2**64 - 1}": (7, LAST),
    "BYTES=0-5": (0, 5),
    "Bytes=0-5": (0, 5),
    "bYtEs=0-5": (0, 5),
    "bytes =0-5": (0, 5),
    "bytes= 0-5": (0, 5),
    "bytes = 0 - 5": (0, 5),
    "bytes=0 -5": (0, 5),
    "bytes=0- 5": (0, 5),
    "bytes=0-5 ": (0, 5),
    " bytes=0-5": (0, 5),
    "bytes=\t0\t-\t5\t": (0, 5),
    "bytes= -5": (SIZE - 5, LAST),
    "bytes=- 5": (SIZE - 5, LAST),
    "bytes=5 - ": (5, LAST),
    "bytes=00-05": (0, 5),
    "bytes=0000000000000000000000000000-00000000000000000000000000005": (0, 5),
    "bytes=-00005": (SIZE - 5, LAST),
    f"bytes={'0' * 3000}1-{'0' * 3000}5": (1, 5),
    f"bytes={' ' * 6000}0-5": (0, 5),
}
BROKEN = {
    "empty": "",
    "unit": "bytes",
    "unit-upper": "BYTES",
    "equals": "bytes=",
    "equals-blank": "bytes= ",
    "descending": "bytes=5-2",
    "descending-far": f"bytes={SIZE + 5}-{SIZE + 2}",
    "minus-zero": "bytes=-0",
    "minus-zeros": "bytes=-000",
    "minus": "bytes=-",
    "letters": "bytes=a-b",
    "letter-last": "bytes=0-b",
    "letter-first": "bytes=a-5",
    "no-minus": "bytes=5",
    "minus-minus": "bytes=--5",
    "minus-inside": "bytes=5--6",
    "three": "bytes=1-2-3",
    "plus": "bytes=+0-5",
    "plus-last": "bytes=0-+5",
    "hex": "bytes=0x0-5",
    "underscore": "bytes=0_0-5",
    "point": "bytes=0.0-5",
    "exponent": "bytes=0-1e3",
    "blank-inside": "bytes=0 0-5",
    "blank-inside-last": "bytes=0-5 5",
    "no-equals": "bytes 0-5",
    "colon": "bytes:0-5",
    "equals-twice": "bytes==0-5",
    "content-range": "bytes=0-5/10",
    "semicolon": "bytes=0-5;",
    "star": "bytes=*",
    "comma-last": "bytes=0-0,",
    "comma-first": "bytes=,0-0",
    "comma-only": "bytes=,",
    "comma-blank": "bytes=0-0, ",
    "quoted": 'bytes="0-5"',
    "superscript": "bytes=\xb2-\xb3",
    "arabic-digits": "bytes=\u0660-\u0665".encode().decode("latin-1"),
    "no-break-blank": "bytes=\xa00-5",
    "2^64-last": f"bytes=0-{2**64}",
    "2^64-first": f"bytes={2**64}-",
    "2^64-suffix": f"bytes=-{2**64}",
    "100-digits": f"bytes=0-{'9' * 100}",
    "5000-digits": f"bytes=0-{'9' * 5000}",
}
SEVERAL = {
    "two": "bytes=0-0,5-6",
    "two-blank": "bytes=0-0, 5-6",
    "two-blanks": "bytes=0-0 , 5-6",
    "same": "bytes=0-5,0-5",
    "touching": "bytes=0-5,6-9",
    "suffix": "bytes=0-0,-1",
    "one-far": "bytes=0-0,900000-",
    "three": "bytes=0-0,5-6,9-9",
    "1000": "bytes=" + ",".join(["0-0"] * 1000),
}
FAR = [
    f"bytes={SIZE}-",
    f"bytes={SIZE}-{SIZE}",
    f"bytes={SIZE + 1}-{SIZE + 9}",
    f"bytes={2**63}-",
    f"bytes={2**64 - 1}-",
]
FAR += [f"bytes={2**64 - 1}-{2**64 - 1}"]
IGNORED = [
    "items=0-5",
    "=0-5",
    "byte=0-5",
    "bytesx=0-5",
    "xbytes=0-5",
    "none=0-5",
    "items=a-b",
    "items=0-0,5-6",
    "seconds=-1",
]
TOO_LONG = {
    "8k-blanks": "bytes=" + " " * 8300 + "0-5",
    "8k-zeros": "bytes=0-" + "0" * 8300 + "5",
    "8k-ranges": "bytes=" + ",".join(["100000-100001"] * 700),
    "8k-broken": "bytes=" + "x" * 8300,
    "1001": "bytes=" + ",".join(["0-0"] * 1001),
    "2000": "bytes=" + ",".join(["0-0"] * 2000),
}


@pytest.mark.parametrize(("value", "wanted"), SATISFIABLE.items(), ids=lambda value: str(value)[:50])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_satisfiable(store: Daemon, method: str, value: str, wanted: tuple[int, int]) -> None:
    """One satisfiable range is a 206 of exactly its bytes; the end is clipped."""
    reply = store.ask("/v1/images/disk", method, {"Range": value})
    _is_part(reply, *wanted)
    if method == "GET":
        assert reply.body == DISK[wanted[0] : wanted[1] + 1]


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("path", BYTES_ROUTES)
def test_broken(store: Daemon, path: str, value: str) -> None:
    """A syntactically broken range is a 416 with the size."""
    _is_unsatisfiable(store.ask(path, fields={"Range": value}))


@pytest.mark.parametrize("value", [*SEVERAL.values(), *FAR], ids=[*SEVERAL, *FAR])
def test_several_or_far(store: Daemon, value: str) -> None:
    """More than one range, or one that starts past the end, is a 416 with the size."""
    _is_unsatisfiable(store.ask("/v1/images/disk", fields={"Range": value}))


@pytest.mark.parametrize("value", ["bytes=5-2", "bytes=0-0,5-6", f"bytes={SIZE}-"])
def test_head_of_a_bad_range(store: Daemon, value: str) -> None:
    """HEAD with Range is as GET without the body."""
    assert store.ask("/v1/images/disk", "HEAD", {"Range": value}).status == 416


@pytest.mark.parametrize("value", IGNORED)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_units_are_ignored(store: Daemon, method: str, value: str) -> None:
    """A range in another unit is ignored: 200 and all of it."""
    reply = store.ask("/v1/images/disk", method, {"Range": value})
    assert reply.status == 200
    assert reply.length == SIZE
    assert "content-range" not in reply.names


@pytest.mark.parametrize("value", TOO_LONG.values(), ids=TOO_LONG)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_range_field_too_long(store: Daemon, method: str, value: str) -> None:
    """A Range field over 8 KiB, or over 1000 ranges, is a 413 whatever it says."""
    reply = store.ask("/v1/images/disk", method, {"Range": value})
    assert reply.status == 413
    assert reply.body == b""


def test_two_range_lines_are_never_one_range(store: Daemon) -> None:
    """Two Range lines are never answered with a 206 of one of them."""
    fields = (("Range", "bytes=0-5"), ("Range", "bytes=6-9"))
    assert store.ask("/v1/images/disk", fields=fields).status in {200, 400, 416}


@pytest.mark.parametrize("value", ["bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-9999", "bytes=5-2", "bytes=1-5"])
def test_ranges_of_an_empty_image(store: Daemon, value: str) -> None:
    """An empty image has no satisfiable range."""
    _is_unsatisfiable(store.ask("/v1/images/empty", fields={"Range": value}), 0)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_empty_image(store: Daemon, method: str) -> None:
    """An empty image is a 200 of 0 bytes."""
    reply = store.ask("/v1/images/empty", method)
    assert (reply.status, reply.length, reply.body) == (200, 0, b"")


@pytest.mark.parametrize("path", BYTES_ROUTES)
def test_whole_image(store: Daemon, path: str) -> None:
    """Without Range the whole image is a 200."""
    reply = store.ask(path)
    assert reply.status == 200
    assert reply.body == DISK
    assert "content-range" not in reply.names


def test_whole_wide_image(store: Daemon) -> None:
    """A plain GET is not limited in length."""
    assert store.ask("/v1/images/wide").body == wide_bytes()


# Ranges of an image of over 5 GiB: status, first byte, bytes.
BIG = {
    f"bytes={MARK_AT}-{MARK_AT + len(MARK) - 1}": (MARK_AT, MARK),
    f"bytes={2**32 - 1}-{2**32}": (2**32 - 1, MARK[7:9]),
    f"bytes={2**32}-{2**32 + 7}": (2**32, MARK[8:]),
    f"bytes={2**31 - 1}-{2**31}": (2**31 - 1, b"\0\0"),
    f"bytes=-{len(TAIL)}": (BIG_SIZE - len(TAIL), TAIL),
    f"bytes={BIG_SIZE - len(TAIL)}-": (BIG_SIZE - len(TAIL), TAIL),
    f"bytes={BIG_SIZE - len(TAIL)}-{2**63}": (BIG_SIZE - len(TAIL), TAIL),
    f"bytes={BIG_SIZE - 1}-{BIG_SIZE - 1}": (BIG_SIZE - 1, TAIL[-1:]),
    "bytes=0-0": (0, b"\0"),
    f"bytes=0-{LIMIT - 1}": (0, bytes(LIMIT)),
}


@pytest.mark.parametrize(("value", "wanted"), BIG.items(), ids=lambda value: str(value)[:40])
def test_big_image(store: Daemon, value: str, wanted: tuple[int, bytes]) -> None:
    """Offsets past 2^32 are served exactly."""
    first, data = wanted
    reply = store.ask("/v1/images/big", fields={"Range": value})
    _is_part(reply, first, first + len(data) - 1, BIG_SIZE)
    assert reply.body == data


def test_head_of_the_big_image(store: Daemon) -> None:
    """HEAD tells a size past 2^32."""
    assert store.ask("/v1/images/big", "HEAD").length == BIG_SIZE


@pytest.mark.parametrize(
    ("image_id", "value", "status"),
    [
        ("big", f"bytes=0-{LIMIT - 1}", 206),
        ("big", f"bytes=0-{LIMIT}", 413),
        ("big", f"bytes=-{LIMIT}", 206),
        ("big", f"bytes=-{LIMIT + 1}", 413),
        ("big", f"bytes={BIG_SIZE - LIMIT}-{2**63}", 206),
        ("big", f"bytes={BIG_SIZE - LIMIT - 1}-{2**63}", 413),
        ("big", f"bytes=0-{2**63}", 413),
        ("big", f"bytes=-{2**63}", 413),
        ("big", f"bytes=-{BIG_SIZE}", 413),
        ("big", "bytes=0-", 206),
        ("big", "bytes=1000000-", 206),
        ("wide", "bytes=0-", 206),
        ("wide", f"bytes=0-{WIDE_SIZE - 1}", 413),
        ("disk", "bytes=0-99999999", 206),
        ("disk", "bytes=-99999999", 206),
    ],
)
def test_limit_of_8_mib(store: Daemon, image_id: str, value: str, status: int) -> None:
    """A resolved length over `--max-range-bytes` is a 413; an open end is not limited."""
    assert store.ask(f"/v1/images/{image_id}", "HEAD", {"Range": value}).status == status
    if status == 413:
        reply = store.ask(f"/v1/images/{image_id}", fields={"Range": value})
        assert (reply.status, reply.body) == (413, b"")


def test_open_end_is_never_shortened(store: Daemon) -> None:
    """`bytes=N-` streams all of the tail, over any limit."""
    reply = store.ask("/v1/images/wide", fields={"Range": "bytes=12345-"})
    _is_part(reply, 12_345, WIDE_SIZE - 1, WIDE_SIZE)
    assert reply.body == wide_bytes()[12_345:]


BYTES_HEADERS = {
    "Content-Type": "application/octet-stream",
    "Content-Encoding": "identity",
    "X-Content-Type-Options": "nosniff",
    "Accept-Ranges": "bytes",
    "ETag": TAG,
    "Last-Modified": MODIFIED,
    "Cache-Control": "public, max-age=3600, no-transform",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "same-site",
}
CASES_OF_BYTES: dict[str, tuple[int, Fields]] = {"200": (200, {}), "206": (206, {"Range": "bytes=5-9"})}


@pytest.mark.parametrize(("status", "fields"), CASES_OF_BYTES.values(), ids=CASES_OF_BYTES)
@pytest.mark.parametrize("name", BYTES_HEADERS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_headers_of_bytes(store: Daemon, method: str, name: str, status: int, fields: Fields) -> None:
    """200 and 206 carry the headers that browser disk clients check, once each."""
    reply = store.ask("/v1/images/disk", method, fields)
    assert reply.status == status
    assert reply[name] == BYTES_HEADERS[name]
    assert set(reply.members("Access-Control-Expose-Headers")) == EXPOSED


def test_head_of_a_range_sends_the_headers_of_get(store: Daemon) -> None:
    """HEAD with Range sends exactly the headers of GET with it."""
    fields = {"Range": "bytes=5-9", "X-Request-Id": "same"}
    got, headed = store.ask("/v1/images/disk", fields=fields), store.ask("/v1/images/disk", "HEAD", fields)
    apart = {"date", "connection"}
    assert [pair for pair in got.fields if pair[0].lower() not in apart] == [
        pair for pair in headed.fields if pair[0].lower() not in apart
    ]


@pytest.mark.parametrize(
    "name", ["Accept-Ranges", "ETag", "Last-Modified", "Cache-Control", "Cross-Origin-Resource-Policy"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_headers_of_304(store: Daemon, method: str, name: str) -> None:
    """A 304 carries the validators and the cache headers of the 200."""
    reply = store.ask("/v1/images/disk", method, {"If-None-Match": TAG})
    assert reply.status == 304
    assert reply[name] == BYTES_HEADERS[name]
    assert reply["Access-Control-Allow-Origin"] == "*"


ERRORS: dict[str, tuple[int, str, Fields]] = {
    "404": (404, "nothing", {}),
    "412": (412, "disk", {"If-Match": '"x"'}),
    "413": (413, "big", {"Range": "bytes=0-99999999"}),
    "413-long": (413, "disk", {"Range": TOO_LONG["1001"]}),
    "416": (416, "disk", {"Range": "bytes=5-2"}),
}


@pytest.mark.parametrize(("status", "image_id", "fields"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_headers_of_errors(store: Daemon, method: str, status: int, image_id: str, fields: Fields) -> None:
    """An error is empty, stored by nobody, and readable across origins."""
    reply = store.ask(f"/v1/images/{image_id}", method, fields)
    assert (reply.status, reply.body, reply.length) == (status, b"", 0)
    assert reply["Cache-Control"] == "no-store, no-transform"
    assert reply["Access-Control-Allow-Origin"] == "*"
    assert reply["Cross-Origin-Resource-Policy"] == "same-site"
    assert reply["Accept-Ranges"] == "bytes"
    assert ("content-range" in reply.names) == (status == 416)


PRIVATE = "private, no-store, no-transform"
PUBLIC = "public, max-age=3600, no-transform"
CREDENTIALS: dict[str, tuple[str, Fields, str]] = {
    "none": ("disk", {}, PUBLIC),
    "authorization": ("disk", {"Authorization": "Bearer x"}, PRIVATE),
    "authorization-empty-scheme": ("disk", {"authorization": "x"}, PRIVATE),
    "cookie": ("disk", {"Cookie": "a=b"}, PRIVATE),
    "both": ("disk", {"Cookie": "a=b", "Authorization": "Basic eDp5"}, PRIVATE),
    "origin": ("disk", {"Origin": "https://app.test"}, PUBLIC),
    "private-image": ("private", {}, PRIVATE),
    "private-cookie": ("private", {"Cookie": "a=b"}, PRIVATE),
}
SHAPES: dict[str, tuple[int, Fields]] = CASES_OF_BYTES | {"304": (304, {"If-None-Match": "*"})}


@pytest.mark.parametrize(("status", "more"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("image_id", "fields", "wanted"), CREDENTIALS.values(), ids=CREDENTIALS)
def test_cache_control(
    store: Daemon, *, image_id: str, fields: Fields, wanted: str, status: int, more: Fields
) -> None:
    """Public bytes are cacheable only for a public image and a request without credentials."""
    reply = store.ask(f"/v1/images/{image_id}", "HEAD", dict(fields) | dict(more))
    assert reply.status == status
    assert reply["Cache-Control"] == wanted


OWN = '"tag-1"'
RFC_850 = "Thursday, 02-Jan-20 03:04:05 GMT"
ASCTIME = "Thu Jan  2 03:04:05 2020"
PART = {"Range": "bytes=0-9"}
CONDITIONS: list[tuple[str, Fields, int]] = [
    # If-Match: strong comparison
    ("tagged", {"If-Match": OWN}, 200),
    ("tagged", {"If-Match": "*"}, 200),
    ("tagged", {"If-Match": f'"a", {OWN}'}, 200),
    ("tagged", {"If-Match": f'"a",{OWN},"b"'}, 200),
    ("tagged", {"If-Match": f'W/"a" , {OWN}'}, 200),
    ("tagged", (("If-Match", '"a"'), ("If-Match", OWN)), 200),
    ("tagged", {"If-Match": '"a"'}, 412),
    ("tagged", {"If-Match": f"W/{OWN}"}, 412),
    ("tagged", {"If-Match": "tag-1"}, 412),
    ("tagged", {"If-Match": '"TAG-1"'}, 412),
    ("tagged", {"If-Match": ""}, 412),
    ("tagged", {"If-Match": '"tag-1'}, 412),
    ("weak", {"If-Match": 'W/"weak-1"'}, 412),
    ("weak", {"If-Match": '"weak-1"'}, 412),
    ("weak", {"If-Match": "*"}, 200),
    ("comma", {"If-Match": '"a,b"'}, 200),
    ("comma", {"If-Match": '"a"'}, 412),
    ("comma", {"If-Match": '"x", "a,b"'}, 200),
    ("disk", {"If-Match": TAG}, 200),
    ("empty", {"If-Match": "*"}, 200),
    ("nothing", {"If-Match": '"a"'}, 404),
    # If-Unmodified-Since
    ("tagged", {"If-Unmodified-Since": EARLIER}, 412),
    ("tagged", {"If-Unmodified-Since": CATALOG_HTTP_DATE}, 200),
    ("tagged", {"If-Unmodified-Since": RFC_850}, 200),
    ("tagged", {"If-Unmodified-Since": ASCTIME}, 200),
    ("tagged", {"If-Unmodified-Since": LATER}, 200),
    ("tagged", {"If-Unmodified-Since": "yesterday"}, 200),
    ("tagged", {"If-Unmodified-Since": CATALOG_DATE}, 200),
    ("tagged", {"If-Match": OWN, "If-Unmodified-Since": EARLIER}, 200),
    ("tagged", {"If-Match": '"a"', "If-Unmodified-Since": LATER}, 412),
    ("fraction", {"If-Unmodified-Since": CATALOG_HTTP_DATE}, 200),
    ("disk", {"If-Unmodified-Since": MODIFIED}, 200),
    # If-None-Match: weak comparison
    ("tagged", {"If-None-Match": OWN}, 304),
    ("tagged", {"If-None-Match": f"W/{OWN}"}, 304),
    ("tagged", {"If-None-Match": "*"}, 304),
    ("tagged", {"If-None-Match": f'"a", {OWN}'}, 304),
    ("tagged", {"If-None-Match": f'"a",W/{OWN}'}, 304),
    ("tagged", {"If-None-Match": f'"x,y", {OWN}'}, 304),
    ("tagged", {"If-None-Match": f', , {OWN} ,"b"'}, 304),
    ("tagged", (("If-None-Match", '"a"'), ("If-None-Match", OWN)), 304),
    ("tagged", {"If-None-Match": '"a"'}, 200),
    ("tagged", {"If-None-Match": '"Tag-1"'}, 200),
    ("tagged", {"If-None-Match": '"x, "'}, 200),
    ("weak", {"If-None-Match": 'W/"weak-1"'}, 304),
    ("weak", {"If-None-Match": '"weak-1"'}, 304),
    ("comma", {"If-None-Match": '"a,b"'}, 304),
    ("comma", {"If-None-Match": 'W/"a,b"'}, 304),
    ("comma", {"If-None-Match": '"x","a,b"'}, 304),
    ("comma", {"If-None-Match": '"a"'}, 200),
    ("comma", {"If-None-Match": '"a", "b"'}, 200),
    ("disk", {"If-None-Match": TAG}, 304),
    ("empty", {"If-None-Match": "*"}, 304),
    ("nothing", {"If-None-Match": "*"}, 404),
    # If-Modified-Since
    ("tagged", {"If-Modified-Since": CATALOG_HTTP_DATE}, 304),
    ("tagged", {"If-Modified-Since": LATER}, 304),
    ("tagged", {"If-Modified-Since": RFC_850}, 304),
    ("tagged", {"If-Modified-Since": ASCTIME}, 304),
    ("tagged", {"If-Modified-Since": EARLIER}, 200),
    ("tagged", {"If-Modified-Since": "yesterday"}, 200),
    ("tagged", {"If-Modified-Since": ""}, 200),
    ("tagged", {"If-None-Match": '"a"', "If-Modified-Since": LATER}, 200),
    ("tagged", {"If-None-Match": OWN, "If-Modified-Since": EARLIER}, 304),
    ("fraction", {"If-Modified-Since": CATALOG_HTTP_DATE}, 304),
    ("fraction", {"If-Modified-Since": EARLIER}, 200),
    ("disk", {"If-Modified-Since": MODIFIED}, 304),
    ("ageless", {"If-Modified-Since": LATER}, 200),
    # If-Range without Range means nothing
    ("tagged", {"If-Range": OWN}, 200),
    ("tagged", {"If-Range": '"a"'}, 200),
    # If-Range
    ("tagged", PART | {"If-Range": OWN}, 206),
    ("tagged", PART | {"If-Range": f" {OWN} "}, 206),
    ("tagged", PART | {"If-Range": f"W/{OWN}"}, 200),
    ("tagged", PART | {"If-Range": '"a"'}, 200),
    ("tagged", PART | {"If-Range": "*"}, 200),
    ("tagged", PART | {"If-Range": "tag-1"}, 200),
    ("tagged", PART | {"If-Range": f'{OWN}, "a"'}, 200),
    ("tagged", PART | {"If-Range": ""}, 200),
    ("tagged", PART | {"If-Range": "yesterday"}, 200),
    ("tagged", PART | {"If-Range": CATALOG_HTTP_DATE}, 206),
    ("tagged", PART | {"If-Range": EARLIER}, 200),
    ("tagged", PART | {"If-Range": LATER}, 200),
    ("fraction", PART | {"If-Range": CATALOG_HTTP_DATE}, 206),
    ("weak", PART | {"If-Range": 'W/"weak-1"'}, 200),
    ("weak", PART | {"If-Range": '"weak-1"'}, 200),
    ("comma", PART | {"If-Range": '"a,b"'}, 206),
    ("disk", PART | {"If-Range": TAG}, 206),
    ("disk", PART | {"If-Range": MODIFIED}, 206),
    ("ageless", PART | {"If-Range": LATER}, 200),
    # Order of evaluation
    ("tagged", {"If-Match": '"a"', "If-None-Match": OWN}, 412),
    ("tagged", {"If-Match": OWN, "If-None-Match": OWN}, 304),
    ("tagged", {"If-Unmodified-Since": EARLIER, "If-None-Match": OWN}, 412),
    ("tagged", {"If-Match": '"a"', "Range": "bytes=5-2"}, 412),
    ("tagged", {"If-Match": '"a"', "Range": TOO_LONG["1001"]}, 412),
    ("tagged", {"If-Match": OWN, "Range": "bytes=0-9"}, 206),
    ("tagged", {"If-None-Match": OWN, "Range": "bytes=0-9"}, 304),
    ("tagged", {"If-None-Match": OWN, "Range": "bytes=5-2"}, 304),
    ("tagged", {"If-None-Match": OWN, "Range": TOO_LONG["1001"]}, 304),
    ("tagged", {"If-None-Match": '"a"', "Range": "bytes=0-9"}, 206),
    ("tagged", {"If-None-Match": '"a"', "Range": "bytes=5-2"}, 416),
    ("tagged", {"If-None-Match": OWN, "If-Range": '"a"', "Range": "bytes=0-9"}, 304),
    ("tagged", {"If-Modified-Since": LATER, "Range": "bytes=0-9"}, 304),
    ("tagged", {"If-Range": '"a"', "Range": "bytes=5-2"}, 200),
    ("tagged", {"If-Range": '"a"', "Range": TOO_LONG["1001"]}, 200),
    ("tagged", {"If-Range": '"a"', "Range": TOO_LONG["8k-blanks"]}, 200),
    ("tagged", {"If-Range": '"a"', "Range": f"bytes={SIZE}-"}, 200),
    ("tagged", {"If-Range": OWN, "Range": f"bytes={SIZE}-"}, 416),
    ("tagged", {"If-Range": OWN, "Range": "bytes=5-2"}, 416),
    ("tagged", {"If-Range": OWN, "Range": TOO_LONG["1001"]}, 413),
    ("tagged", {"If-Range": OWN, "Range": "items=0-5"}, 200),
    ("big", {"Range": f"bytes={BIG_SIZE}-{BIG_SIZE + 99999999}"}, 416),
    ("big", {"Range": "bytes=0-99999999,5-6"}, 416),
]


@pytest.mark.parametrize(
    ("image_id", "fields", "status"),
    CONDITIONS,
    ids=[f"{n}-{case[0]}-{case[2]}" for n, case in enumerate(CONDITIONS)],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditional(store: Daemon, method: str, image_id: str, fields: Fields, status: int) -> None:
    """Preconditions are evaluated by RFC 9110 and in the order of http.md."""
    reply = store.ask(f"/v1/images/{image_id}", method, fields)
    assert reply.status == status
    if method == "GET" and image_id != "empty":
        wanted = {200: DISK[: reply.length] if status == 200 else b"", 206: DISK[:10]}.get(status, b"")
        assert reply.body == wanted


def test_no_last_modified_before_the_epoch(store: Daemon) -> None:
    """A pre-epoch mtime counts as none: no Last-Modified, and zeros, ctime and inode in the tag."""
    reply, status = store.ask("/v1/images/ageless"), (store.root / "ageless.img").stat()
    assert "last-modified" not in reply.names
    seconds, nanos = divmod(status.st_ctime_ns, 10**9)
    assert reply["ETag"] == f'"64-0-0-{seconds:x}-{nanos:x}-{status.st_ino:x}"'


@pytest.fixture(scope="module")
def small(small_home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon with a limit of 1000 bytes."""
    with running(small_home("small"), "--max-range-bytes", "1000", "--public-cache-max-age-secs", "7") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def limiting(small_home: Callable[[str], Path]) -> Iterator[Daemon]:
    """The same, with open ends limited too."""
    flags = ("--max-range-bytes", "1000", "--open-ended-ranges=limit", "--public-cache-max-age-secs=0")
    with running(small_home("limiting"), *flags) as daemon:
        yield daemon


# Range, status with open ends streamed, status with open ends limited.
LIMITED = [
    ("bytes=0-999", 206, 206),
    ("bytes=0-1000", 413, 413),
    ("bytes=5-1004", 206, 206),
    ("bytes=5-1005", 413, 413),
    ("bytes=-1000", 206, 206),
    ("bytes=-1001", 413, 413),
    ("bytes=-999999", 413, 413),
    (f"bytes={SIZE - 1000}-999999", 206, 206),
    (f"bytes={SIZE - 1001}-999999", 413, 413),
    (f"bytes={SIZE - 1000}-", 206, 206),
    (f"bytes={SIZE - 1001}-", 206, 413),
    ("bytes=0-", 206, 413),
    (f"bytes={SIZE}-", 416, 416),
    ("bytes=0-5000,6000-9000", 416, 416),
    ("items=0-5", 200, 200),
]


@pytest.mark.parametrize(("value", "streamed", "limited"), LIMITED)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_open_ended_ranges(
    small: Daemon, limiting: Daemon, *, method: str, value: str, streamed: int, limited: int
) -> None:
    """With `--open-ended-ranges=limit` an open end is limited like any range; nothing is ever shortened."""
    assert small.ask("/v1/images/disk", method, {"Range": value}).status == streamed
    reply = limiting.ask("/v1/images/disk", method, {"Range": value})
    assert reply.status == limited
    assert reply.body == b"" or limited in {200, 206}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("value", ["bytes=0-1000", "bytes=-1001", f"bytes=0-{SIZE}"])
def test_413_says_the_limit(small: Daemon, method: str, value: str) -> None:
    """The 413 of a range that is too long says how long one may be, and pages may read it."""
    reply = small.ask("/v1/images/disk", method, {"Range": value, "Origin": "https://app.test"})
    assert (reply.status, reply["Aero-Max-Range-Bytes"]) == (413, "1000")
    assert set(reply["Access-Control-Expose-Headers"].lower().split(", ")) == {*EXPOSED, "aero-max-range-bytes"}


@pytest.mark.parametrize("value", [TOO_LONG["8k-blanks"], "bytes=5-2", f"bytes={SIZE}-", "bytes=0-999"])
def test_no_other_answer_says_the_limit(small: Daemon, value: str) -> None:
    """The limit is told where a range exceeds it, and nowhere else; a header that is too long is another matter."""
    reply = small.ask("/v1/images/disk", fields={"Range": value, "Origin": "https://app.test"})
    assert reply.status != 200
    assert "aero-max-range-bytes" not in reply.names
    assert set(reply["Access-Control-Expose-Headers"].lower().split(", ")) == EXPOSED


def test_no_limit(small_home: Callable[[str], Path]) -> None:
    """`--max-range-bytes none` lifts the limit, for clients that read whole images as one range."""
    path = small_home("unlimited")
    with (path / "images" / "large.img").open("wb") as file:
        file.truncate(9 << 20)
    put_catalog(path / "images", [entry("large", "large.img")])
    with running(path, "--max-range-bytes=none") as daemon:
        for value in (f"bytes=0-{(9 << 20) - 1}", f"bytes=-{9 << 20}"):
            reply = daemon.ask("/v1/images/large", "HEAD", {"Range": value})
            assert (reply.status, reply.length) == (206, 9 << 20)


def test_plain_get_is_not_limited(small: Daemon, limiting: Daemon) -> None:
    """A plain GET is whole under any limit."""
    assert small.ask("/v1/images/disk").body == DISK
    assert limiting.ask("/v1/images/disk").body == DISK


def test_max_age(small: Daemon, limiting: Daemon) -> None:
    """`max-age` is as configured."""
    assert small.ask("/v1/images/disk", "HEAD")["Cache-Control"] == "public, max-age=7, no-transform"
    assert limiting.ask("/v1/images/disk", "HEAD")["Cache-Control"] == "public, max-age=0, no-transform"


@pytest.fixture(scope="module")
def demanding(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon with `--require-range` and a limit of 1000 bytes."""
    path = home("demanding")
    small_root(path / "images", entry("fraction", etag='"f"', last_modified="2020-01-02T03:04:05.5Z"))
    with running(path, "--require-range", "--max-range-bytes=1000") as daemon:
        yield daemon


REQUIRED: list[tuple[str, str, Fields, int]] = [
    ("GET", "disk", {}, 416),
    ("GET", "empty", {}, 416),
    ("GET", "private", {}, 416),
    ("GET", "nothing", {}, 404),
    ("GET", "%2e%2e", {}, 404),
    ("GET", "disk", PART, 206),
    ("GET", "disk", {"Range": "bytes=0-999"}, 206),
    ("GET", "disk", {"Range": "bytes=-1000"}, 206),
    ("GET", "disk", {"Range": f"bytes={SIZE - 1000}-"}, 206),
    ("GET", "disk", {"Range": f"bytes={SIZE - 1001}-"}, 413),
    ("GET", "disk", {"Range": "bytes=0-"}, 413),
    ("GET", "disk", {"Range": "bytes=0-1000"}, 413),
    ("GET", "disk", {"Range": "bytes=-1001"}, 413),
    ("GET", "disk", {"Range": TOO_LONG["8k-blanks"]}, 413),
    ("GET", "disk", {"Range": ""}, 416),
    ("GET", "disk", {"Range": "bytes"}, 416),
    ("GET", "disk", {"Range": "bytes=5-2"}, 416),
    ("GET", "disk", {"Range": "bytes=a-b"}, 416),
    ("GET", "disk", {"Range": "items=0-5"}, 416),
    ("GET", "disk", {"Range": "=0-5"}, 416),
    ("GET", "disk", {"Range": f"bytes={SIZE}-"}, 416),
    ("GET", "disk", {"Range": "bytes=0-0,5-6"}, 416),
    ("GET", "empty", {"Range": "bytes=0-0"}, 416),
    ("GET", "tagged", PART | {"If-Range": OWN}, 206),
    ("GET", "tagged", PART | {"If-Range": CATALOG_HTTP_DATE}, 206),
    ("GET", "fraction", PART | {"If-Range": CATALOG_HTTP_DATE}, 206),
    ("GET", "tagged", PART | {"If-Range": '"a"'}, 412),
    ("GET", "tagged", PART | {"If-Range": f"W/{OWN}"}, 412),
    ("GET", "tagged", PART | {"If-Range": EARLIER}, 412),
    ("GET", "tagged", PART | {"If-Range": LATER}, 412),
    ("GET", "tagged", PART | {"If-Range": "rubbish"}, 412),
    ("GET", "tagged", PART | {"If-Range": ""}, 412),
    ("GET", "weak", PART | {"If-Range": 'W/"weak-1"'}, 412),
    ("GET", "ageless", PART | {"If-Range": LATER}, 412),
    ("GET", "tagged", {"If-Range": OWN}, 416),
    ("GET", "tagged", {"If-Range": '"a"'}, 416),
    ("GET", "tagged", {"If-None-Match": OWN}, 304),
    ("GET", "tagged", PART | {"If-None-Match": OWN}, 304),
    ("GET", "tagged", PART | {"If-Match": '"a"'}, 412),
    ("GET", "tagged", {"If-Match": '"a"'}, 412),
    ("HEAD", "disk", {}, 200),
    ("HEAD", "empty", {}, 200),
    ("HEAD", "disk", PART, 206),
    ("HEAD", "disk", {"Range": "items=0-5"}, 200),
    ("HEAD", "disk", {"Range": "bytes=5-2"}, 416),
    ("HEAD", "disk", {"Range": f"bytes={SIZE}-"}, 416),
    ("HEAD", "tagged", PART | {"If-Range": '"a"'}, 200),
    ("OPTIONS", "disk", {}, 204),
]


@pytest.mark.parametrize(
    ("method", "image_id", "fields", "status"),
    REQUIRED,
    ids=[f"{n}-{case[0]}-{case[1]}-{case[3]}" for n, case in enumerate(REQUIRED)],
)
@pytest.mark.parametrize("tail", ["", "/data"])
def test_require_range(
    demanding: Daemon, *, tail: str, method: str, image_id: str, fields: Fields, status: int
) -> None:
    """With `--require-range` a full body is never sent for a GET; HEAD is not affected."""
    reply = demanding.ask(f"/v1/images/{image_id}{tail}", method, fields)
    assert reply.status == status
    assert len(reply.body) <= 1000
    if status == 416:
        assert reply["Content-Range"] == f"bytes */{0 if image_id == 'empty' else SIZE}"


def test_head_of_demanding_still_tells_the_size(demanding: Daemon) -> None:
    """HEAD tells size and `Accept-Ranges` even where a GET must have a Range."""
    reply = demanding.ask("/v1/images/disk", "HEAD")
    assert reply.length == SIZE
    assert reply["Accept-Ranges"] == "bytes"


def test_interleaved_connections(store: Daemon) -> None:
    """Eight connections at once, each with its own ranges, get their own bytes."""
    conns = [store.dial() for _ in range(8)]
    for turn in range(5):
        for n, conn in enumerate(conns):
            first = (turn * 8 + n) * 100_000
            conn.send(head("GET", "/v1/images/wide", {"Range": f"bytes={first}-{first + 999_999}"}))
        for n, conn in enumerate(conns):
            first = (turn * 8 + n) * 100_000
            assert conn.reply().body == wide_bytes()[first : first + 1_000_000]
    for conn in conns:
        conn.close()
