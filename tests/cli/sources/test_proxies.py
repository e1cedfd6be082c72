"""URLs through the proxies that the environment names, as curl takes them."""

from __future__ import annotations

import base64
import os

import pytest
from tests.cli.sources.http_server import HttpServer, Request, answer
from tests.cli.sources.streams import all_of

from aero_storage.cli.sources.http_body import open_url
from aero_storage.errors import OperatorError

DATA = b"a disk" * 1000


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def fetched(url: str) -> bytes:
    body = open_url(url, print)
    try:
        return all_of(body)
    finally:
        body.close()


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_proxy(monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str) -> None:
    """A proxy is asked for the whole URL; its user and password go to it alone."""
    with HttpServer(lambda _: answer(DATA)) as proxy:
        address = proxy.url.removeprefix("http://").removesuffix("/disk.img")
        monkeypatch.setenv(variable, f"{scheme}me:p%40ss@{address}")
        assert fetched("http://images.invalid/disk.img") == DATA
    (request,) = proxy.requests
    assert request.path == "http://images.invalid/disk.img"
    assert base64.b64decode(request.headers["proxy-authorization"].removeprefix("Basic ")) == b"me:p@ss"


def test_proxy_of_https(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is asked for a tunnel to a server of https; what it refuses is told, without its password."""

    def refuse(_request: Request) -> bytes:
        return answer(b"", "403 Forbidden")

    with HttpServer(refuse) as proxy:
        address = proxy.url.removeprefix("http://").removesuffix("/disk.img")
        monkeypatch.setenv("https_proxy", f"http://me:s3cret@{address}")
        with pytest.raises(OperatorError, match="403 Forbidden") as caught:
            fetched("https://images.invalid/disk.img")
    assert proxy.requests[0].path == "images.invalid:443"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("interim", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_interim_response_to_connect(monkeypatch: pytest.MonkeyPatch, interim: str) -> None:
    """An interim response before a proxy's answer to CONNECT is skipped: what follows counts."""

    def refuse(_request: Request) -> bytes:
        return f"HTTP/1.1 {interim}\r\nLink: x\r\n\r\n".encode() + answer(b"", "403 Forbidden")

    with HttpServer(refuse) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.removesuffix("/disk.img"))
        with pytest.raises(OperatorError, match="403 Forbidden"):
            fetched("https://images.invalid/disk.img")


def test_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that wants a password is told of as such: the URL of the image is right."""
    with HttpServer(lambda _: answer(b"", "407 Proxy Authentication Required")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/disk.img"))
        with pytest.raises(OperatorError, match="the proxy wants the name and password"):
            fetched("http://images.invalid/disk.img")


def test_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that no_proxy names is asked itself."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with HttpServer(lambda _: answer(DATA)) as server:
        monkeypatch.setenv("no_proxy", "example.com,127.0.0.1")
        assert fetched(server.url) == DATA


def test_password_of_any_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy gets a user's name and password as they are, in UTF-8."""
    with HttpServer(lambda _: answer(DATA)) as proxy:
        address = proxy.url.removeprefix("http://").removesuffix("/disk.img")
        monkeypatch.setenv("http_proxy", f"http://mé:10€%ff@{address}")
        assert fetched("http://images.invalid/disk.img") == DATA
    sent = proxy.requests[0].headers["proxy-authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == "mé:10€".encode() + b"\xff"


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://me:s3cret@127.0.0.1:9",
        "ftp://127.0.0.1:9",
        "http://",
        "http://me:s3cret/more@127.0.0.1:9",
        "http://s3cret:80/more@127.0.0.1:9",
        "http://s3cret:80?more@127.0.0.1:9",
        "http://s3cret#more@127.0.0.1:9",
        "http://me:s3cret@[::1",
        "http://me:s3cret@127.0.0.1:99999",
        "me:s3cret/more@127.0.0.1:9",
    ],
)
def test_other_proxies(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """A proxy that cannot be asked is an error that says how to go on, without a password in it."""
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(OperatorError, match="is named as a proxy by the environment") as caught:
        fetched("http://images.invalid/disk.img")
    assert "s3cret" not in str(caught.value)
