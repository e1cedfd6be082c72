"""The body at a URL, from real servers that cut, redirect, change and lie."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.certificates import write_certificate
from tests.cli.sources.http_server import DATE, HttpServer, Request, answer, cut, rest
from tests.cli.sources.streams import all_of
from tests.hostile_server import Server

from aero_storage.cli.sources import http_body, http_requests
from aero_storage.cli.sources.http_body import Clock, open_url
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DATA = random.Random(1).randbytes(300_000)
TAG = {"ETag": '"one"'}
LAST_YEAR = "Fri, 28 Nov 2025 18:00:00 GMT"


@attrs.define
class Told:
    """What a stream said, and how long it paused; no pause takes time."""

    remarks: list[str] = attrs.field(factory=list)
    pauses: list[float] = attrs.field(factory=list)
    seconds: float = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self.pauses.append)


def fetched(url: str, told: Told | None = None, most: int = 1 << 16) -> bytes:
    told = told or Told()
    body = open_url(url, told.remarks.append, told.clock)
    try:
        data = all_of(body, most)
        assert body.size in (None, len(data))
        return data
    finally:
        body.close()


def complaint(script: Callable[[Request], bytes], told: Told | None = None) -> str:
    with HttpServer(script) as server, pytest.raises(OperatorError) as caught:
        fetched(server.url, told)
    return str(caught.value).replace(server.url, "URL")


def test_content() -> None:
    """All bytes come, the length is known beforehand, and nothing encoded is asked for."""
    with HttpServer(lambda _: answer(DATA, **TAG)) as server:
        body = open_url(server.url, print)
        assert body.size == len(DATA)
        assert all_of(body) == DATA
        body.close()
        assert fetched(server.url, most=777) == DATA
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert "range" not in server.requests[0].headers


INTERIM = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "102": b"HTTP/1.1 102 Processing\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </s>; rel=preload\r\nContent-Length: 7\r\n\r\n",
    "199": b"HTTP/1.1 199 Whatever\nA: b\n\n",
}


@pytest.mark.parametrize("status", INTERIM)
def test_interim_responses(status: str) -> None:
    """At most ten interim responses of any kind, 103 too, go before the final one (RFC 9110 §15.2)."""
    with HttpServer(lambda _: INTERIM[status] * 10 + answer(DATA)) as server:
        assert fetched(server.url) == DATA
    assert "more than 10 interim responses" in complaint(lambda _: INTERIM[status] * 11 + answer(DATA))


def test_endless_interim_response() -> None:
    """An interim response has an end, as the head of a final one has."""
    early = b"HTTP/1.1 103 Early Hints\r\n"
    assert "cannot be read" in complaint(lambda _: early + b"A: b\r\n" * 101 + b"\r\n" + answer(DATA))
    assert "cannot be read" in complaint(lambda _: early + b"A" * 70_000 + b"\r\n\r\n" + answer(DATA))


def test_switched_protocols() -> None:
    """A 101, which was not asked for, is no interim response: what follows it is no HTTP."""
    assert "status 101" in complaint(lambda _: b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + answer(DATA))


def test_connection_that_stays_open() -> None:
    """The end is where the length says, and not where the server closes."""
    with HttpServer(lambda _: answer(DATA), keeps_open=True) as server:
        began = time.monotonic()
        assert fetched(server.url) == DATA
        assert time.monotonic() - began < 9


def test_chunked() -> None:
    """A body without a length is whole if it is chunked, as that has an end of its own."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (DATA[:100], DATA[100:])) + b"0\r\n\r\n"
    with HttpServer(lambda _: answer(body, Content_Length=None, Transfer_Encoding="chunked")) as server:
        assert fetched(server.url) == DATA


def test_without_length() -> None:
    """A body that ends with the connection is refused: nobody could tell a part of it from the whole."""
    assert "comes without a length" in complaint(lambda _: answer(DATA, Content_Length=None, **TAG))
    assert "comes without a length" in complaint(lambda _: answer(DATA, Content_Length="12x"))


@pytest.mark.parametrize(
    "coding", ["xchunkedx", "gzip, chunked", "chunked, chunked", "identity", "chunked ", "chunked;a=b", ""]
)
def test_other_transfer_codings(coding: str) -> None:
    """A body whose chunks would not be taken apart, or whose end would be that of the connection, is refused."""
    body = b"5\r\nabcde\r\n0\r\n\r\n"
    found = complaint(lambda _: answer(body, Content_Length=None, Transfer_Encoding=coding))
    assert "comes with Transfer-Encoding" in found


def test_chunked_with_a_length() -> None:
    """A body with two ends, by its chunks and by its length, is refused: a proxy may have made another of it."""
    body = b"5\r\nabcde\r\n0\r\n\r\n"
    found = complaint(lambda _: answer(body, Content_Length=5, Transfer_Encoding="chunked"))
    assert "both Transfer-Encoding and Content-Length" in found


def test_rest_of_another_transfer_coding() -> None:
    """The rest of a body that was cut off has to have a known end too."""
    script = after_cut(lambda request: rest(DATA, request, **TAG, **{"Transfer-Encoding": "gzip, chunked"}))
    assert "comes with Transfer-Encoding gzip, chunked" in complaint(script)


@pytest.mark.parametrize("validator", [TAG, {"Last-Modified": LAST_YEAR}])
def test_resumed(validator: dict[str, str]) -> None:
    """A cut connection is gone on with where it was cut, under the condition that the file is the same."""

    def script(request: Request) -> bytes:
        return (
            cut(rest(DATA, request, **validator), 70_000)
            if request.number
            else cut(answer(DATA, **validator), 70_000)
        )

    told = Told()
    with HttpServer(script) as server:
        assert fetched(server.url, told) == DATA
    assert [one.headers.get("range") for one in server.requests] == [
        None,
        *(f"bytes={at}-" for at in (70_000, 140_000, 210_000, 280_000)),
    ]
    assert {one.headers.get("if-range") for one in server.requests[1:]} == set(validator.values())
    assert told.pauses == [1, 2, 4, 8]
    assert told.remarks[0].startswith(f"{server.url}: cut off after 68.4 KiB (")


def test_resumed_chunked() -> None:
    """The same is true of a chunked body; the rest tells the length of the whole."""

    def script(request: Request) -> bytes:
        if request.number:
            return rest(DATA, request, **TAG)
        return answer(
            b"%x\r\n%s\r\n" % (100_000, DATA[:100_000]), Content_Length=None, Transfer_Encoding="chunked", **TAG
        )

    with HttpServer(script) as server:
        assert fetched(server.url) == DATA


def test_parts_that_are_shorter() -> None:
    """A server may send less of the rest than was asked for, as long as it says so."""

    def script(request: Request) -> bytes:
        if not request.number:
            return cut(answer(DATA, **TAG), 1000)
        start = request.offset
        part = DATA[start : start + 90_000]
        told = f"bytes {start}-{start + len(part) - 1}/{len(DATA)}"
        return answer(part, "206 Partial Content", Content_Range=told, **TAG)

    with HttpServer(script) as server:
        assert fetched(server.url) == DATA


@pytest.mark.parametrize(
    "validator",
    [
        {},
        {"ETag": 'W/"weak"'},
        {"ETag": "no tag"},
        {"Last-Modified": DATE},
        {"Last-Modified": "yesterday"},
        {"Last-Modified": "Sun, 29 Nov 2026 18:00:00 GMT"},
    ],
)
def test_cut_without_validator(validator: dict[str, str]) -> None:
    """Without a strong validator nothing is appended: it could be of another version."""
    said = complaint(lambda _: cut(answer(DATA, **validator), 1000))
    assert said.startswith("URL: cut off after 1000 B (")
    assert "names no version of the file" in said


def after_cut(second: Callable[[Request], bytes]) -> Callable[[Request], bytes]:
    return lambda request: second(request) if request.number else cut(answer(DATA, **TAG), 1000)


CHANGED = {
    "whole": lambda _: answer(DATA, **TAG),
    "other tag": lambda request: rest(DATA, request, ETag='"two"'),
    "shorter than where we are": lambda _: answer(b"", "416 Range Not Satisfiable"),
    "precondition": lambda _: answer(b"", "412 Precondition Failed"),
}
WRONG = {
    "other place": lambda _: answer(DATA[:9], "206 Partial Content", Content_Range=f"bytes 0-8/{len(DATA)}", **TAG),
    "other total": lambda request: rest(DATA + b"x", request, **TAG),
    "no place": lambda _: answer(DATA[1000:], "206 Partial Content", **TAG),
    "other length": lambda _: answer(
        DATA[1000:],
        "206 Partial Content",
        Content_Length=77,
        Content_Range=f"bytes 1000-{len(DATA) - 1}/{len(DATA)}",
        **TAG,
    ),
    "nothing": lambda _: answer(b"", "206 Partial Content", Content_Range=f"bytes 1000-999/{len(DATA)}", **TAG),
    "multipart": lambda _: answer(b"--x", "206 Partial Content", Content_Type="multipart/byteranges; boundary=x"),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_changed_meanwhile(kind: str) -> None:
    """A file that changed is not appended to what came of the old one."""
    assert "URL: changed while it was read" in complaint(after_cut(CHANGED[kind]))


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_part(kind: str) -> None:
    """A part other than the one asked for is refused."""
    assert "URL: the server sent another part than was asked for" in complaint(after_cut(WRONG[kind]))


def test_encoded_part() -> None:
    """A part that is encoded is refused."""
    said = complaint(after_cut(lambda request: rest(DATA, request, Content_Encoding="gzip", **TAG)))
    assert "comes with Content-Encoding gzip" in said


def test_cut_again_and_again() -> None:
    """A server that brings little and cuts is asked a few times, with growing pauses."""
    told = Told()
    said = complaint(
        lambda request: cut(rest(DATA, request, **TAG) if request.number else answer(DATA, **TAG), 10),
        told,
    )
    assert said.endswith("and 5 attempts to go on were in vain; import it again later")
    assert told.pauses == [1, 2, 4, 8, 16]


def test_attempts_are_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a day a connection may be cut often, as long as much comes between."""
    monkeypatch.setattr(http_body, "_PROGRESS", 20_000)
    told = Told()
    script = after_cut(lambda request: cut(rest(DATA, request, **TAG), 20_000))
    with HttpServer(script) as server:
        assert fetched(server.url, told) == DATA
    assert len(told.pauses) == 15
    assert told.pauses == [1] * len(told.pauses)


def test_busy() -> None:
    """A server that is busy is asked again; one that stays so is told of."""
    told = Told()
    busy = answer(b"later", "503 Service Unavailable")
    with HttpServer(lambda request: answer(DATA) if request.number == 2 else busy) as server:
        assert fetched(server.url, told) == DATA
    assert told.pauses == [1, 2]
    assert complaint(lambda _: busy) == "URL: is answered with status 503; is that the URL of the image?"
    with HttpServer(after_cut(lambda request: rest(DATA, request, **TAG) if request.number == 2 else busy)) as server:
        assert fetched(server.url) == DATA


@pytest.mark.parametrize("status", ["404 Not Found", "206 Partial Content", "204 No Content", "304 Not Modified"])
def test_other_answers(status: str) -> None:
    """Anything but 200 is no image."""
    assert f"URL: is answered with status {status[:3]}" in complaint(lambda _: answer(b"", status))


@pytest.mark.parametrize("encoding", ["gzip", "br", "x\x07y"])
def test_encoded(encoding: str) -> None:
    """An encoded answer is refused, with the way round."""
    said = complaint(lambda _: answer(b"", Content_Encoding=encoding))
    assert said.startswith("URL: comes with Content-Encoding ")
    assert said.isprintable()


def redirect(where: str, status: str = "302 Found") -> bytes:
    return answer(b"", status, Location=where)


def test_redirects() -> None:
    """Redirects are followed, relative ones too; the rest is asked for where they ended."""

    def script(request: Request) -> bytes:
        hops = {"/disk.img": "/second", "/second": "third?key=secret"}
        if request.path in hops:
            return redirect(hops[request.path], "307 Temporary Redirect")
        return after_cut(lambda again: rest(DATA, again, **TAG))(attrs.evolve(request, number=request.number - 2))

    with HttpServer(script) as server:
        assert fetched(server.url) == DATA
    assert [one.path for one in server.requests] == ["/disk.img", "/second", *["/third?key=secret"] * 2]


def test_redirected_url_that_is_gone() -> None:
    """A URL that was made for one request is gone later: then the one that the operator named is asked again."""

    def script(request: Request) -> bytes:
        if request.path == "/disk.img":
            return redirect(f"/signed-{request.number}")
        if request.number == 1:
            return cut(answer(DATA, **TAG), 1000)
        return answer(b"", "403 Forbidden") if request.path == "/signed-0" else rest(DATA, request, **TAG)

    with HttpServer(script) as server:
        assert fetched(server.url) == DATA


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("/disk.img", "URL: has more than 10 redirects"),
        ("file:///etc/passwd", "no http or https URL"),
        ("ftp://example.com/x", "no http or https URL"),
        ("http://user:secret@example.com/x", "a URL with a user's name would show a password"),
        ("http://[", "URL: is redirected to http://[: "),
        ("", "but not told where to"),
    ],
)
def test_bad_redirects(where: str, said: str) -> None:
    """Redirects in a circle, to other schemes and to secrets are refused."""
    found = complaint(lambda _: redirect(where))
    assert said in found
    assert "secret" not in found


@contextmanager
def tls_server(place: Path, reply: bytes) -> Iterator[str]:
    """Serve one answer over TLS for a with block, at the URL; the certificate is in `place`."""
    write_certificate(place)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "cert.pem", place / "key.pem")

    def serve() -> None:
        with suppress(OSError):
            client, _ = listening.accept()
            with context.wrap_socket(client, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://localhost:{listening.getsockname()[1]}/disk.img"
    thread.join(10)


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that the system trusts is taken, any other one is not."""
    with (
        tls_server(tmp_path, answer(DATA)) as url,
        pytest.raises(OperatorError, match="its certificate is not trusted: self-signed"),
    ):
        fetched(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with tls_server(tmp_path, answer(DATA)) as url:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        assert fetched(url) == DATA


def test_from_https_to_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect to a connection that anybody could change is not followed."""
    with tls_server(tmp_path, redirect("http://127.0.0.1:1/x?key=secret")) as url:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        with pytest.raises(OperatorError) as caught:
            fetched(url)
    assert f"{url}: is redirected from https to http://127.0.0.1:1/x?…, where" in str(caught.value)


@pytest.mark.parametrize("url", ["http://user:secret@127.0.0.1/x", "https://secret@host/x", "http://", "ftp://h/x"])
def test_bad_urls(url: str) -> None:
    """URLs with a user's name, and those that are none, are refused, and no secret is shown."""
    with pytest.raises(OperatorError) as caught:
        open_url(url, print)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["a" * 70, "a..b", "\ud800", "127.0.0.1:1/\x1b[2J"])
def test_odd_hosts(host: str) -> None:
    """Whatever is named as a host ends in printable words."""
    with pytest.raises(OperatorError) as caught:
        open_url(f"http://{host}/x", print)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("query", ["?a=UTF-8''d.img&key=secret", "?a=(x)secret", '?a="x"secret'])
def test_query_of_endless_redirects(query: str) -> None:
    """No character in a query lets the rest of it through."""
    with HttpServer(lambda request: redirect(request.path)) as server, pytest.raises(OperatorError) as caught:
        fetched(f"{server.url}{query}")
    assert str(caught.value) == f"{server.url}?…: has more than 10 redirects"


def test_query_is_not_shown() -> None:
    """The query of a URL may be a credential: no message shows it."""
    with HttpServer(lambda _: answer(b"", "404 Not Found")) as server, pytest.raises(OperatorError) as caught:
        fetched(f"{server.url}?key=secret")
    assert str(caught.value).startswith(f"{server.url}?…: is answered with status 404")


def test_no_server() -> None:
    """A server that is not there is told of at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/x"
    told = Told()
    with pytest.raises(OperatorError, match=f"{url}: cannot be read: "):
        fetched(url, told)
    assert told.pauses == []


def test_slow_server() -> None:
    """A server that keeps the connection but brings next to nothing counts as cut off."""
    told = Told()
    script = after_cut(lambda request: rest(DATA, request, **TAG))
    with HttpServer(script) as server:
        body = open_url(server.url, told.remarks.append, told.clock)
        assert body.read(10)
        told.seconds = 61
        data = body.read(10)
        assert data
        body.close()
    assert "only 0 bytes a second came in" in told.remarks[0]


def test_head_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends its head byte by byte is given up after a while."""
    monkeypatch.setattr(http_requests, "_WAIT_SECONDS", 0.3)
    over = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            client, _ = listening.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not over.wait(0.05):
                    client.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        with pytest.raises(OperatorError, match="cannot be read"):
            fetched(f"http://127.0.0.1:{listening.getsockname()[1]}/x")
        over.set()
        thread.join(10)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [(CHUNKED, b"0"), (CHUNKED + b"5;", b"x"), (CHUNKED + b"0\r\n", b"X: y\r\n"), (CHUNKED + b"0\r\nX: ", b"y")],
    ids=["size", "extension", "trailers", "trailer"],
)
def test_framing_that_drips(monkeypatch: pytest.MonkeyPatch, beginning: bytes, piece: bytes) -> None:
    """A server that sends bytes without content, one now and then, is given up after a while."""
    monkeypatch.setattr(http_requests, "_WAIT_SECONDS", 0.3)
    began = time.monotonic()
    with Server(beginning, piece, 0.01) as server, pytest.raises(OperatorError) as caught:
        fetched(server.url)
    assert "no content came in for 0.3 seconds" in str(caught.value)
    assert time.monotonic() - began < 5


def test_reader_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that passes between two readings is not the server's."""
    monkeypatch.setattr(http_requests, "_WAIT_SECONDS", 0.1)
    with HttpServer(lambda _: answer(DATA)) as server:
        body = open_url(server.url, print)
        first = body.read(1000)
        threading.Event().wait(0.35)
        assert first + all_of(body) == DATA
        body.close()
