"""Verifying over HTTP against a real server, which behaves as a table says."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import pytest

from aero_storage.chunks.publish.publisher import Published
from aero_storage.chunks.verify.remote import HttpSource
from aero_storage.chunks.verify.verifier import VerifyReport, verify
from aero_storage.errors import OperatorError

KIB = 2**10
GOOD = {"Content-Encoding": "identity", "Cache-Control": "public, max-age=31536000, immutable, No-Transform"}
CHUNK = "chunks/00000001.bin"


@attrs.frozen
class Answer:
    """What to answer; None means as it should be."""

    status: int = 200
    headers: Mapping[str, str | None] = attrs.field(factory=dict)
    body: bytes | None = None
    cut: int | None = None
    """Send so many bytes of the body, then close."""


@attrs.define
class Site:
    """A directory on a web server, with answers of its own for some paths; several are given one after the other."""

    directory: Path
    url: str
    answers: dict[str, list[Answer]] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)
    encodings: set[str] = attrs.field(factory=set)

    def take(self, path: str) -> Answer:
        answers = self.answers.get(path, [Answer()])
        return answers.pop(0) if len(answers) > 1 else answers[0]


def handler_of(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].removeprefix("/v1/images/disk/chunked/")
            site.asked.append(path)
            site.encodings.add(self.headers["Accept-Encoding"])
            answer, file = site.take(path), site.directory / ("manifest.json" if path == "manifest" else path)
            body = answer.body
            if body is None:
                body = file.read_bytes() if answer.status == 200 else b""
            self.send_response(answer.status)
            headers = {**GOOD, "Content-Length": str(len(body)), **answer.headers}
            for name, value in headers.items():
                if value is not None:
                    self.send_header(name, value)
            self.close_connection = answer.cut is not None or headers["Content-Length"] is None
            self.end_headers()
            self.wfile.write(body[: answer.cut])

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler


@pytest.fixture
def site(make_image: Callable[..., Path], publish_image: Callable[..., Published]) -> Iterator[Site]:
    """Four chunks on a web server."""
    published = publish_image(make_image(os.urandom(3 * KIB), os.urandom(512)), chunk_size=KIB, version="v1")
    site = Site(published.directory, "")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(site))
    site.url = f"http://127.0.0.1:{server.server_address[1]}/v1/images/disk/chunked/manifest.json"
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def check(url: str) -> VerifyReport:
    return verify(HttpSource(url), jobs=2)


@pytest.mark.parametrize("ending", ["", "?token=1"])
@pytest.mark.parametrize("name", ["manifest.json", "manifest"])
def test_good(site: Site, name: str, ending: str) -> None:
    """What is served as it should be is good, by either name of the manifest; chunks are asked for beside it."""
    report = check(site.url.removesuffix("manifest.json") + name + ending)
    assert report.mismatches == ()
    assert report.chunks == 4
    assert sorted(site.asked) == [*(f"chunks/0000000{index}.bin" for index in range(4)), name]


def test_asks_like_a_browser(site: Site) -> None:
    """Encodings are offered as browsers do, so that a server that would encode is found out."""
    check(site.url)
    assert site.encodings == {"gzip, deflate, br"}


ANSWERS = {
    "missing": (Answer(status=404), ["status 404 instead of 200"]),
    "failing": (Answer(status=500), ["status 500 instead of 200"]),
    "partial": (Answer(status=206), ["status 206 instead of 200"]),
    "other bytes": (Answer(body=b"x" * KIB), ["has the SHA-256 digest "]),
    "too short": (Answer(body=b"x" * 100), ["has 100 bytes instead of 1024"]),
    "too long": (Answer(body=b"x" * 2000), ["has 2000 bytes instead of 1024"]),
    "cut short": (Answer(cut=100), ["cannot be read: "]),
    "no length": (Answer(headers={"Content-Length": None}), ["Content-Length is missing"]),
    "no length, too long": (
        Answer(headers={"Content-Length": None}, body=b"x" * 10**6),
        ["Content-Length is missing", "has more than 1024"],
    ),
    "no length, too short": (
        Answer(headers={"Content-Length": None}, body=b"x"),
        ["Content-Length is missing", "has 1 bytes instead of 1024"],
    ),
    "may be transformed": (Answer(headers={"Cache-Control": "public"}), ["Cache-Control lacks no-transform"]),
    "no cache control": (Answer(headers={"Cache-Control": None}), ["Cache-Control lacks no-transform"]),
    "no encoding named": (Answer(headers={"Content-Encoding": None}), []),
    "encoded": (
        Answer(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"x" * KIB)),
        ["Content-Encoding is gzip; clients take nothing but identity"],
    ),
    "endless names": (
        Answer(headers={"Content-Encoding": "x" * 5000, "Cache-Control": "x" * 5000}),
        ["Content-Encoding is xxx", "Cache-Control lacks no-transform"],
    ),
}


@pytest.mark.parametrize(("answer", "faults"), ANSWERS.values(), ids=ANSWERS)
def test_one_chunk(site: Site, answer: Answer, faults: list[str]) -> None:
    """What a client would refuse in a chunk, or get wrong, is told for that chunk and no other."""
    site.answers[CHUNK] = [answer]
    mismatches = check(site.url).mismatches
    assert [one.where for one in mismatches] == [CHUNK] * len(faults)
    for one, fault in zip(mismatches, faults, strict=True):
        assert one.what.startswith(fault)
        assert len(one.what) < 200


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(headers={"Cache-Control": "no-store"}), "Cache-Control lacks no-transform"),
        (Answer(headers={"Content-Length": None}), "Content-Length is missing"),
        (Answer(headers={"Content-Encoding": "br"}), "Content-Encoding is br"),
        (Answer(body=b"[]"), "must be an object, not an array"),
    ],
)
def test_manifest_faults(site: Site, answer: Answer, fault: str) -> None:
    """What a client would refuse in the manifest is told too."""
    site.answers["manifest.json"] = [answer]
    (mismatch,) = check(site.url).mismatches
    assert mismatch.where == "manifest"
    assert mismatch.what.startswith(fault)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=404), "answers with status 404; is the image published"),
        (Answer(cut=20), "cannot be read: "),
    ],
)
def test_no_manifest(site: Site, answer: Answer, reason: str) -> None:
    """A manifest that cannot be had is an error that says what to look at."""
    site.answers["manifest.json"] = [answer]
    with pytest.raises(OperatorError, match=reason):
        check(site.url)


@pytest.mark.parametrize("url", ["http://", "http://127.0.0.1:1/manifest", "http://[::1", "gopher://127.0.0.1/"])
def test_no_server(url: str) -> None:
    """An address where nobody answers, or that is none, is an error that names it."""
    with pytest.raises(OperatorError, match="cannot be read: "):
        check(url)


def test_busy_server(site: Site) -> None:
    """A server that is full (429) is asked again."""
    site.answers[CHUNK] = [Answer(status=429, headers={"Retry-After": "100000"}), Answer()]
    assert check(site.url).mismatches == ()


def test_redirect(site: Site) -> None:
    """A redirect, as some CDNs answer with, is followed."""
    elsewhere = site.url.replace("manifest.json", "chunks/00000001.bin?moved")
    site.answers[CHUNK] = [Answer(status=302, headers={"Location": elsewhere}), Answer()]
    assert check(site.url).mismatches == ()


def test_server_that_goes_away(site: Site) -> None:
    """Connections that break while chunks are read are mismatches, and do not end the verification."""
    for index in range(4):
        site.answers[f"chunks/0000000{index}.bin"] = [Answer(cut=0)]
    report = check(site.url)
    assert [one.where for one in report.mismatches] == [f"chunks/0000000{index}.bin" for index in range(4)]
