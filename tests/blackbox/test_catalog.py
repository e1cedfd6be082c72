"""http.md §3: what makes a catalog, and what breaks one."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.blackbox.harness import SHOWS_WITHIN, running, start, until
from tests.blackbox.image_roots import CATALOG_DATE, DISK, SIZE, entry, put_catalog, small_root, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon, Line

X = {"id": "x", "file": "disk.img", "name": "X"}


def _without(key: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in X.items() if name != key}]


def _with(**fields: object) -> list[dict[str, Any]]:
    return [X | fields]


# Whole documents that are no catalog.
BROKEN_DOCUMENTS: dict[str, object] = {
    "empty": "",
    "cut": '{"images": [',
    "text": "hello",
    "not-utf8": b'[{"id": "x", "file": "disk.img", "name": "\xff"}]',
    "null": "null",
    "number": "42",
    "string": '"images"',
    "true": "true",
    "object-empty": {},
    "object-other": {"image": [X]},
    "images-null": {"images": None},
    "images-object": {"images": {"x": X}},
    "images-string": {"images": "x"},
    "images-empty": {"images": []},
    "array-empty": [],
    "entry-number": [1],
    "entry-null": [None],
    "entry-string": ["x"],
    "entry-array": [[X]],
    "second-entry-null": [X, None],
    "deep": "[" * 100_000,
    "deep-closed": "[" * 100_000 + "]" * 100_000,
    "deep-objects": '{"images":' * 50_000,
    "huge-number": '[{"id": ' + "9" * 6000 + "}]",
    "trailing": '[{"id": "x", "file": "disk.img", "name": "X"}] x',
}
# Entries with one bad field: the field and the entries.
BROKEN_ENTRIES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "id-missing": ("id", _without("id")),
    "id-null": ("id", _with(id=None)),
    "id-number": ("id", _with(id=7)),
    "id-list": ("id", _with(id=["x"])),
    "id-empty": ("id", _with(id="")),
    "id-dot": ("id", _with(id=".")),
    "id-dots": ("id", _with(id="..")),
    "id-slash": ("id", _with(id="a/b")),
    "id-blank": ("id", _with(id="a b")),
    "id-blank-around": ("id", _with(id=" a ")),
    "id-line-feed": ("id", _with(id="a\n")),
    "id-nul": ("id", _with(id="a\0")),
    "id-non-ascii": ("id", _with(id="é")),
    "id-digit-non-ascii": ("id", _with(id="٣")),
    "id-129": ("id", _with(id="a" * 129)),
    "id-twice": ("id", [X, X | {"file": "empty.img"}]),
    "file-missing": ("file", _without("file")),
    "file-null": ("file", _with(file=None)),
    "file-number": ("file", _with(file=7)),
    "file-empty": ("file", _with(file="")),
    "file-absolute": ("file", _with(file="/etc/passwd")),
    "file-absolute-inside": ("file", _with(file="//disk.img")),
    "file-up": ("file", _with(file="../disk.img")),
    "file-up-only": ("file", _with(file="..")),
    "file-up-inside": ("file", _with(file="sub/../disk.img")),
    "file-up-last": ("file", _with(file="sub/..")),
    "file-nul": ("file", _with(file="disk.img\0")),
    "file-513": ("file", _with(file="a" * 513)),
    "file-514-bytes": ("file", _with(file="é" * 257)),
    "name-number": ("name", _with(name=7)),
    "name-list": ("name", _with(name=["X"])),
    "public-string": ("public", _with(public="true")),
    "public-number": ("public", _with(public=1)),
    "private-cache-word": ("private_cache", _with(public=False, private_cache="shared")),
    "private-cache-true": ("private_cache", _with(public=False, private_cache=True)),
    "private-cache-public": ("private_cache", _with(private_cache="Browser")),
    "description-number": ("description", _with(description=7)),
    "description-object": ("description", _with(description={"en": "x"})),
    "recommended-zero": ("recommended_chunk_size_bytes", _with(recommended_chunk_size_bytes=0)),
    "recommended-negative": ("recommended_chunk_size_bytes", _with(recommended_chunk_size_bytes=-1)),
    "recommended-fraction": ("recommended_chunk_size_bytes", _with(recommended_chunk_size_bytes=1.5)),
    "recommended-string": ("recommended_chunk_size_bytes", _with(recommended_chunk_size_bytes="512")),
    "recommended-true": ("recommended_chunk_size_bytes", _with(recommended_chunk_size_bytes=True)),
    "version-number": ("chunked_version", _with(chunked_version=1)),
    "version-empty": ("chunked_version", _with(chunked_version="")),
    "version-blank": ("chunked_version", _with(chunked_version="  ")),
    "version-dots": ("chunked_version", _with(chunked_version="..")),
    "version-dot": ("chunked_version", _with(chunked_version=".")),
    "version-slash": ("chunked_version", _with(chunked_version="a/b")),
    "version-chunks": ("chunked_version", _with(chunked_version="chunks")),
    "version-chunks-trimmed": ("chunked_version", _with(chunked_version=" chunks ")),
    "version-129": ("chunked_version", _with(chunked_version="v" * 129)),
    "etag-number": ("etag", _with(etag=1)),
    "etag-empty": ("etag", _with(etag="")),
    "etag-bare": ("etag", _with(etag="tag")),
    "etag-half": ("etag", _with(etag='"tag')),
    "etag-other-half": ("etag", _with(etag='tag"')),
    "etag-one-quote": ("etag", _with(etag='"')),
    "etag-apostrophes": ("etag", _with(etag="'tag'")),
    "etag-inner-quote": ("etag", _with(etag='"a"b"')),
    "etag-two": ("etag", _with(etag='"a", "b"')),
    "etag-blank": ("etag", _with(etag='"a b"')),
    "etag-tab": ("etag", _with(etag='"a\tb"')),
    "etag-crlf": ("etag", _with(etag='"a\r\nSet-Cookie: b"')),
    "etag-control": ("etag", _with(etag='"a\x01"')),
    "etag-delete": ("etag", _with(etag='"a\x7f"')),
    "etag-non-ascii": ("etag", _with(etag='"é"')),
    "etag-weak-lower": ("etag", _with(etag='w/"a"')),
    "etag-weak-bare": ("etag", _with(etag="W/a")),
    "etag-weak-apart": ("etag", _with(etag='W/ "a"')),
    "etag-star": ("etag", _with(etag="*")),
    "etag-1025": ("etag", _with(etag='"' + "a" * 1023 + '"')),
    "date-number": ("last_modified", _with(last_modified=1)),
    "date-empty": ("last_modified", _with(last_modified="")),
    "date-words": ("last_modified", _with(last_modified="yesterday")),
    "date-only": ("last_modified", _with(last_modified="2020-01-02")),
    "date-no-offset": ("last_modified", _with(last_modified="2020-01-02T03:04:05")),
    "date-basic": ("last_modified", _with(last_modified="20200102T030405Z")),
    "date-week": ("last_modified", _with(last_modified="2020-W01-1T00:00:00Z")),
    "date-http": ("last_modified", _with(last_modified="Thu, 02 Jan 2020 03:04:05 GMT")),
    "date-month": ("last_modified", _with(last_modified="2020-13-01T00:00:00Z")),
    "date-day": ("last_modified", _with(last_modified="2020-02-30T00:00:00Z")),
    "date-hour": ("last_modified", _with(last_modified="2020-02-03T25:00:00Z")),
    "date-no-seconds": ("last_modified", _with(last_modified="2020-02-03T04:05Z")),
    "date-offset-short": ("last_modified", _with(last_modified="2020-02-03T04:05:06+01")),
    "date-digits": ("last_modified", _with(last_modified="٢٠٢٠-01-02T03:04:05Z")),
    "date-early": ("last_modified", _with(last_modified="1969-12-31T23:59:59Z")),
    "date-early-by-offset": ("last_modified", _with(last_modified="1970-01-01T00:00:00+00:01")),
    "date-early-by-fraction": ("last_modified", _with(last_modified="1969-12-31T23:59:59.999Z")),
    "date-year-1": ("last_modified", _with(last_modified="0001-01-01T00:00:00+14:00")),
}
EVERYTHING: dict[str, list[dict[str, Any]]] = {
    "second-entry": [X | {"id": "fine"}, X | {"etag": "bad"}],
    "last-of-many": [*(X | {"id": f"n{n}"} for n in range(500)), X | {"etag": "bad"}],
}


class Breaches:
    """A daemon that has never seen a good catalog; it is started again should one slip through."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "images"
        write(self.root / "disk.img", DISK)
        write(self.root / "empty.img", b"")
        put_catalog(self.root, "not a catalog")
        self.daemon = start(path)

    def restart_if_spoilt(self) -> None:
        if self.daemon.ask("/readyz").status != 503:
            self.daemon.stop()
            put_catalog(self.root, "not a catalog")
            self.daemon.log.unlink()
            self.daemon = start(self.path)

    def put(self, document: object) -> Line:
        """Put a document in place; return the error line that it led to."""
        since = self.daemon.log_size()
        put_catalog(self.root, document)
        self.daemon.hang_up()
        return self.daemon.line(lambda line: line["level"] in {"error", "critical"}, since, seconds=3)


@pytest.fixture(scope="module")
def breaches(home: Callable[[str], Path]) -> Iterator[Breaches]:
    """A daemon whose catalog is broken."""
    holder = Breaches(home("breaches"))
    yield holder
    holder.daemon.stop()


@pytest.fixture
def broken(breaches: Breaches) -> Breaches:
    """The same, made sure to be broken still."""
    breaches.restart_if_spoilt()
    return breaches


@pytest.mark.parametrize("document", BROKEN_DOCUMENTS.values(), ids=BROKEN_DOCUMENTS)
def test_document_that_is_no_catalog(broken: Breaches, document: object) -> None:
    """A manifest that is no catalog at all is invalid: an error line, 500 and not ready."""
    broken.put(_with(id=f"bad {os.urandom(4).hex()}"))
    line = broken.put(document)
    assert len(str(line["message"])) < 2048
    assert broken.daemon.ask("/v1/images/x").status == 500
    assert broken.daemon.ask("/readyz").status == 503


@pytest.mark.parametrize(("field", "entries"), BROKEN_ENTRIES.values(), ids=BROKEN_ENTRIES)
def test_breach_of_one_field(broken: Breaches, field: str, entries: list[dict[str, Any]]) -> None:
    """One bad field makes the whole manifest invalid, with one message that names it."""
    since = broken.daemon.log_size()
    broken.put({"images": entries})
    told = broken.daemon.log_text(since)
    assert field in told
    assert "Traceback" not in told
    assert broken.daemon.ask("/v1/images/x").status == 500
    assert broken.daemon.ask("/readyz").status == 503


@pytest.mark.parametrize("entries", EVERYTHING.values(), ids=EVERYTHING)
def test_one_bad_entry_spoils_the_whole(broken: Breaches, entries: list[dict[str, Any]]) -> None:
    """One bad entry anywhere spoils the whole, and the message names the entry."""
    since = broken.daemon.log_size()
    broken.put(entries)
    told = broken.daemon.log_text(since)
    assert '\\"x\\"' in told or "'x'" in told or str(len(entries) - 1) in told or " x" in told
    assert broken.daemon.ask(f"/v1/images/{entries[0]['id']}").status == 500


@pytest.mark.parametrize("field", ["id", "file", "etag", "last_modified", "chunked_version"])
def test_long_values_are_truncated(broken: Breaches, field: str) -> None:
    """A bad value of 100,000 characters does not fill the log."""
    since = broken.daemon.log_size()
    broken.put(_with(**{field: " /" * 50_000}))
    assert broken.daemon.log_size() - since < 4096


INVALID_ANSWERS = [
    ("GET", "/v1/images", 500),
    ("GET", "/v1/images/x/meta", 500),
    ("GET", "/v1/images/x", 500),
    ("HEAD", "/v1/images/x", 500),
    ("GET", "/v1/images/x/data", 500),
    ("GET", "/v1/images/disk.img", 500),
    ("GET", "/readyz", 503),
    ("HEAD", "/ready", 503),
    ("GET", "/healthz", 200),
    ("GET", "/health", 200),
    ("GET", "/version", 200),
    ("GET", "/metrics", 200),
    ("OPTIONS", "/v1/images/x", 204),
    ("POST", "/v1/images/x", 405),
    ("GET", "/v1/images/%2e%2e", 500),
    ("GET", "/v1/images/%2e%2e/meta", 500),
    ("GET", "/nothing", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), INVALID_ANSWERS)
def test_answers_with_an_invalid_catalog(broken: Breaches, method: str, path: str, status: int) -> None:
    """With an invalid catalog data and metadata are 500 with a short body, all else goes on."""
    reply = broken.daemon.ask(path, method)
    assert reply.status == status
    if status == 500:
        assert len(reply.body) <= 1024
        assert reply["Cache-Control"].startswith("no-store")
        assert reply["Access-Control-Allow-Origin"] == "*"
    if status == 500 and path.startswith("/v1/images/x") and "meta" not in path:
        assert reply.body == b""
        assert reply["Cache-Control"] == "no-store, no-transform"
        assert reply["Cross-Origin-Resource-Policy"] == "same-site"
        assert reply["Accept-Ranges"] == "bytes"


def test_invalid_catalog_counts(broken: Breaches) -> None:
    """An invalid catalog counts as a store error of kind `manifest`."""
    broken.daemon.ask("/v1/images/x")
    until(lambda: broken.daemon.metrics().value("store_errors_total", kind="manifest") > 0)


# Catalogs that are good: the document and what the metadata of image `x` must then hold.
GOOD: dict[str, tuple[object, dict[str, Any]]] = {
    "object": ({"images": [X]}, {}),
    "array": ([X], {}),
    "object-unknown-keys": ({"version": 3, "images": [X], "z": None}, {}),
    "entry-unknown-keys": (_with(zzz=1, size=-5, Id=".."), {}),
    "public-missing": ([X], {"public": True}),
    "public-false": (_with(public=False), {"public": False}),
    "private-cache": (_with(public=False, private_cache="browser"), {"public": False}),
    "private-cache-null": (_with(public=False, private_cache=None), {"public": False}),
    "all-null": (
        _with(
            description=None,
            recommended_chunk_size_bytes=None,
            chunked_version=None,
            etag=None,
            last_modified=None,
        ),
        {"size_bytes": SIZE},
    ),
    "description": (_with(description="Wörter \u2028"), {"description": "Wörter \u2028"}),
    "name": (_with(name="é\U0001f4be"), {"name": "é\U0001f4be"}),
    "recommended": (_with(recommended_chunk_size_bytes=1), {"recommended_chunk_size_bytes": 1}),
    "recommended-large": (_with(recommended_chunk_size_bytes=1 << 40), {"recommended_chunk_size_bytes": 1 << 40}),
    "version": (_with(chunked_version="v1"), {}),
    "version-trimmed": (_with(chunked_version=" v1\n"), {}),
    "etag": (_with(etag='"t"'), {"etag": '"t"'}),
    "etag-weak": (_with(etag='W/"t"'), {"etag": 'W/"t"'}),
    "etag-trimmed": (_with(etag=' \t"t"\n'), {"etag": '"t"'}),
    "etag-1024": (_with(etag='"' + "a" * 1022 + '"'), {"etag": '"' + "a" * 1022 + '"'}),
    "etag-visible": (_with(etag='"!#$%&\'(),-./:;<=>?@[\\]^_`{|}~"'), {"etag": '"!#$%&\'(),-./:;<=>?@[\\]^_`{|}~"'}),
    "date": (_with(last_modified=CATALOG_DATE), {"last_modified": CATALOG_DATE}),
    "date-trimmed": (_with(last_modified=f" {CATALOG_DATE}\n"), {"last_modified": CATALOG_DATE}),
    "date-offset": (_with(last_modified="2020-01-02T05:34:05+02:30"), {"last_modified": CATALOG_DATE}),
    "date-offset-west": (_with(last_modified="2020-01-01T22:04:05-05:00"), {"last_modified": CATALOG_DATE}),
    "date-zero-offset": (_with(last_modified="2020-01-02T03:04:05+00:00"), {"last_modified": CATALOG_DATE}),
    "date-zero-fraction": (_with(last_modified="2020-01-02T03:04:05.000Z"), {"last_modified": CATALOG_DATE}),
    "date-epoch": (_with(last_modified="1970-01-01T00:00:00Z"), {"last_modified": "1970-01-01T00:00:00Z"}),
    "date-epoch-by-offset": (
        _with(last_modified="1969-12-31T23:00:00-01:00"),
        {"last_modified": "1970-01-01T00:00:00Z"},
    ),
    "file-dot": (_with(file="./disk.img"), {"size_bytes": SIZE}),
    "file-dots-in-name": (_with(file="a..b/..c"), {"size_bytes": 3}),
    "file-deep": (_with(file="sub/dir/disk.img"), {"size_bytes": 3}),
    "file-512": (_with(file="./" * 252 + "disk.img"), {"size_bytes": SIZE}),
    "file-non-ascii": (_with(file="disk é.img"), {"size_bytes": 3}),
    "file-manifest-itself": (_with(file="manifest.json"), {}),
    "two-on-one-file": ([X, X | {"id": "y"}], {"size_bytes": SIZE}),
    "thousand": ([X, *(X | {"id": f"n{n}"} for n in range(1000))], {"id": "x"}),
}


@pytest.fixture(scope="module")
def fluid(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon whose catalog changes with every test."""
    path = home("fluid")
    small_root(path / "images")
    for name in ("a..b/..c", "sub/dir/disk.img", "disk é.img"):
        write(path / "images" / name, b"abc")
    with running(path) as daemon:
        yield daemon


def show(daemon: Daemon, document: object, image_id: str = "x") -> dict[str, Any]:
    """Put a good catalog in place; return the metadata of an image that the one before did not have."""
    put_catalog(daemon.root, document)
    daemon.hang_up()
    until(lambda: daemon.ask(f"/v1/images/{image_id}/meta").status == 200, SHOWS_WITHIN)
    meta = daemon.ask(f"/v1/images/{image_id}/meta").json()
    assert isinstance(meta, dict)
    return meta


@pytest.mark.parametrize(("document", "wanted"), GOOD.values(), ids=GOOD)
def test_good_catalogs(fluid: Daemon, document: object, wanted: dict[str, Any]) -> None:
    """Each form that the rules allow is accepted and shows."""
    show(fluid, [entry("other")], "other")
    meta = show(fluid, document)
    assert {key: meta.get(key) for key in wanted} == wanted
    assert fluid.ask("/v1/images/other/meta").status == 404
    assert fluid.ask("/v1/images/x").status == 200


@pytest.mark.parametrize(
    "fraction", ["2020-01-02T03:04:05.5Z", "2020-01-02T03:04:05.123456Z", "2020-01-02T04:04:05.25+01:00"]
)
def test_fraction_of_last_modified(fluid: Daemon, fraction: str) -> None:
    """A fraction of a second is kept in the metadata and left out of the HTTP date."""
    show(fluid, [entry("other")], "other")
    shown = show(fluid, _with(last_modified=fraction))["last_modified"]
    assert shown.endswith("Z")
    assert "." in shown
    assert datetime.fromisoformat(shown) == datetime.fromisoformat(fraction)
    assert fluid.ask("/v1/images/x", "HEAD")["Last-Modified"] == "Thu, 02 Jan 2020 03:04:05 GMT"


LISTED = {"B.img": DISK, "a.img": DISK, "a-b_c": b"1", "empty": b"", "0": b"0", "x" * 128: b"2", "manifest.jso": b"3"}
HIDDEN = [".hidden", "..hidden", "manifest.json.bak", "manifest.jsonx", "bad name", "é.img", "a+b", "y" * 129]


@pytest.fixture(scope="module")
def listing(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon over a directory without a manifest."""
    path = home("listing")
    root = path / "images"
    for name, data in LISTED.items():
        write(root / name, data)
    for name in HIDDEN:
        write(root / name, b"hidden")
    write(root / "dir" / "inner.img", b"inner")
    write(root / "chunked" / "a.img" / "manifest.json", b"{}")
    (root / "link").symlink_to("a.img")
    (root / "dangling").symlink_to("nothing")
    os.mkfifo(root / "fifo")
    with running(path) as daemon:
        yield daemon


def test_listing_is_sorted_and_plain(listing: Daemon) -> None:
    """Without a manifest the list is the regular files, sorted by id; id = name = file name; public."""
    listed = listing.ask("/v1/images").json()
    assert [image["id"] for image in listed] == sorted(LISTED)
    assert all(image["name"] == image["id"] for image in listed)
    assert all(image["public"] is True for image in listed)
    assert {image["id"]: image["size_bytes"] for image in listed} == {
        name: len(data) for name, data in LISTED.items()
    }


@pytest.mark.parametrize("name", LISTED)
def test_listed_files_are_served(listing: Daemon, name: str) -> None:
    """What the listing shows is served on both planes, as a public image."""
    reply = listing.ask(f"/v1/images/{name}")
    assert reply.body == LISTED[name]
    assert reply["Cache-Control"] == "public, max-age=3600, no-transform"
    assert listing.ask(f"/v1/images/{name}/meta").json()["id"] == name


@pytest.mark.parametrize("name", [*HIDDEN, "link", "dangling", "fifo", "dir", "chunked", "manifest.json", "nothing"])
def test_what_the_listing_hides(listing: Daemon, name: str) -> None:
    """What the listing does not show is a 404 even by its right name."""
    raw = "".join(f"%{byte:02x}" for byte in name.encode())
    assert listing.ask(f"/v1/images/{raw}").status == 404
    assert listing.ask(f"/v1/images/{raw}/meta").status in {400, 404}


def test_listing_is_ready(listing: Daemon) -> None:
    """A directory listing is a catalog that loads."""
    assert listing.ask("/readyz").status == 200


def test_listing_follows_the_directory(listing: Daemon) -> None:
    """A new file appears, and a removed one disappears, within a second."""
    new = write(listing.root / "new.img", b"new")
    until(lambda: listing.ask("/v1/images/new.img").body == b"new", SHOWS_WITHIN)
    until(lambda: "new.img" in [image["id"] for image in listing.ask("/v1/images").json()], SHOWS_WITHIN)
    new.unlink()
    until(lambda: listing.ask("/v1/images/new.img").status == 404, SHOWS_WITHIN)
    until(lambda: "new.img" not in [image["id"] for image in listing.ask("/v1/images").json()], SHOWS_WITHIN)


def test_listing_gives_way_to_a_manifest_for_ever(home: Callable[[str], Path]) -> None:
    """A manifest that appears is the catalog; when it goes again there is no way back to the listing."""
    path = home("appears")
    write(path / "images" / "disk.img", DISK)
    with running(path) as daemon:
        assert daemon.ask("/v1/images/disk.img", "HEAD").status == 200
        put_catalog(daemon.root, [entry("other")])
        until(lambda: daemon.ask("/v1/images/other", "HEAD").status == 200, SHOWS_WITHIN)
        assert daemon.ask("/v1/images/disk.img").status == 404
        since = daemon.log_size()
        (daemon.root / "manifest.json").unlink()
        daemon.line(lambda line: line["level"] in {"error", "critical"}, since)
        assert daemon.ask("/v1/images/disk.img").status == 404
        assert daemon.ask("/v1/images/other", "HEAD").status == 200
        assert daemon.ask("/readyz").status == 200


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_require_manifest(home: Callable[[str], Path], how: str) -> None:
    """With `--require-manifest` a missing manifest is an invalid one, until there is one."""
    path = home("require-manifest")
    write(path / "images" / "disk.img", DISK)
    flags = ("--require-manifest",) if how == "flag" else ()
    env = {"AERO_STORAGE_REQUIRE_MANIFEST": "true"} if how == "variable" else {}
    with running(path, *flags, env=env) as daemon:
        assert daemon.ask("/v1/images").status == 500
        assert daemon.ask("/v1/images/disk.img").status == 500
        assert daemon.ask("/v1/images/disk.img/meta").status == 500
        assert daemon.ask("/readyz").status == 503
        assert daemon.ask("/healthz").status == 200
        until(lambda: daemon.metrics().value("store_errors_total", kind="manifest") > 0)
        put_catalog(daemon.root, [entry("disk")])
        until(lambda: daemon.ask("/readyz").status == 200, SHOWS_WITHIN)
        assert daemon.ask("/v1/images/disk").body == DISK


def test_manifest_that_is_no_file(home: Callable[[str], Path]) -> None:
    """A `manifest.json` that is a directory is an invalid catalog, not a reason for a listing."""
    path = home("manifest-directory")
    write(path / "images" / "disk.img", DISK)
    (path / "images" / "manifest.json").mkdir()
    with running(path) as daemon:
        assert daemon.ask("/v1/images/disk.img").status == 500
        assert daemon.ask("/readyz").status == 503
