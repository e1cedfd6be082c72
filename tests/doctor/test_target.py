"""Which server and which image a URL means."""

from __future__ import annotations

import pytest

from aero_storage.doctor.target import Target, parse_target
from aero_storage.errors import OperatorError

LOCAL = Target("http", "127.0.0.1", 8080)
HERE = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("url", "target", "image"),
    [
        (HERE, LOCAL, None),
        (f"{HERE}/", LOCAL, None),
        (f"{HERE}/v1/images", LOCAL, None),
        (f"{HERE}/v1/images/win98", LOCAL, "win98"),
        (f"{HERE}/v1/images/win98/data", LOCAL, "win98"),
        (f"{HERE}/v1/images/win98/chunked/v1/manifest.json", LOCAL, "win98"),
        (f"{HERE}/v1/images/win98/versions/v-1/data", LOCAL, "win98"),
        ("https://a.example", Target("https", "a.example", 443), None),
        ("https://a.example/disks/", Target("https", "a.example", 443, "/disks"), None),
        ("https://a.example/disks/v1/images/x", Target("https", "a.example", 443, "/disks"), "x"),
        ("HTTP://[::1]:1", Target("http", "::1", 1), None),
    ],
)
def test_place(url: str, target: Target, image: str | None) -> None:
    """The server, what goes before its paths, and the image if the URL is of one."""
    assert parse_target(url) == (target, image)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("127.0.0.1:8080", "no http or https URL"),
        ("ftp://a.example", "no http or https URL"),
        ("http://", "no http or https URL"),
        ("http://a:b@c.example", "--header"),
        ("http://a.example:x", "no URL"),
        ("http://a.example:99999", "no URL"),
        ("http://[::1", "no URL"),
        (f"{HERE}?x=1", "query"),
        (f"{HERE}/v1/images/%2e%2e", "the image"),
        (f"{HERE}/a b", "percent-encoded"),
        (f"{HERE}/a\x1b[31m", "percent-encoded"),
        ("http://ä.example", "xn--"),
    ],
)
def test_no_place(url: str, reason: str) -> None:
    """What cannot be asked is told with the reason."""
    with pytest.raises(OperatorError, match=reason):
        parse_target(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST."])
def test_loopback(host: str) -> None:
    """The machine itself is out of others' reach."""
    assert Target("http", host, 80).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "localhost.example", "fe80::1%eth0"])
def test_no_loopback(host: str) -> None:
    """Everything else may be reached by others."""
    assert not Target("http", host, 80).is_loopback


@pytest.mark.parametrize("url", [HERE, "https://a.example/disks", "http://[::1]:81"])
def test_url(url: str) -> None:
    """The base URL is told as it was given."""
    assert parse_target(url)[0].url == url


def test_path_like_a_password() -> None:
    """A path that may be the rest of a password is asked for, and not shown."""
    target, _ = parse_target("http://me:12/hush@a.example/")
    assert target.prefix == "/hush@a.example"
    assert target.url == "http://…@a.example"


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hush@a.example",
        "https://me:hush@a.example:port",
        "https://me:hush@[::1",
        "ftp://me:hush@a.example",
        "me:hush@a.example",
        "http://me:12/hush@a.example/ ",
        "http://me:12/v1/images/hush@a.example",
        "http://a.example/?x='hush",
        "http:/me:hush@a.example",
    ],
)
def test_passwords_are_not_repeated(url: str) -> None:
    """Whatever else is wrong with a URL, its password stays with who typed it."""
    with pytest.raises(OperatorError) as caught:
        parse_target(url)
    assert "hush" not in str(caught.value)
