"""URLs in messages show no credential."""

from __future__ import annotations

import pytest

from aero_storage.http.shown_urls import is_like_url, shown_url, without_secrets

SECRETS = [
    ("http://h/a.img?filename*=UTF-8''d.img&X-Amz-Signature=s3cret", "http://h/a.img?…"),
    ('http://h/a.img?a="x"s3cret', "http://h/a.img?…"),
    ("http://h/a.img?a=(x)s3cret", "http://h/a.img?…"),
    ("http://u:s3cret@h/a.img", "http://…@h/a.img"),
    ("http://u:12/s3cret@host/", "http://…@host/"),
    ("http://u:12/s@3cret@host/?q=s3cret", "http://…@host/?…"),
    ("http://u:s3?cret@host/a.img", "http://…"),
    ("http://u:s3#cret@host/a.img", "http://…"),
    ("ftp://u:s3cret@h/manifest.json", "ftp://…@h/manifest.json"),
    ("s3+https://u:s3cret@h/x", "s3+https://…@h/x"),
]


@pytest.mark.parametrize(("url", "shown"), SECRETS)
def test_secrets(url: str, shown: str) -> None:
    """Neither a query nor a user's name is shown, whatever characters are in them, in free text as in an argument."""
    assert shown_url(url) == shown
    assert is_like_url(url)
    assert without_secrets(f"({url} is down)") == f"({shown} is down)"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/a.img#s3 cret", "http://h/a.img#…"),
        ("http://h/a.img?a=b s3cret", "http://h/a.img?…"),
        ("u:s3cret@host", "u:…@host"),
        ("http:u:s3cret@host", "http:…@host"),
        ("http:/u:s3cret@host/", "http:/…@host/"),
        ("http:\\\\u:s3cret@host/", "http:\\\\…@host/"),
    ],
)
def test_arguments(url: str, shown: str) -> None:
    """An argument is cut at its first mark of a query or fragment, and at a user's name, also if it is no URL."""
    assert shown_url(url) == shown


@pytest.mark.parametrize("url", ["http://h", "https://h:81/a(b)'c.img", "http://[::1]/x", "x", "", "http://h/x?"])
def test_without_secrets(url: str) -> None:
    """What has no credential in it is shown as it is."""
    assert shown_url(url) == url
    assert without_secrets(f"is {url} up?") == f"is {url} up?"


def test_text() -> None:
    """The query of a path in a text is not shown either."""
    text = "pool: retries exceeded with url: /loop?a='x')s3cret (Caused by //u:s3'cret@h)"
    assert without_secrets(text) == "pool: retries exceeded with url: /loop?… (Caused by //…@h)"


@pytest.mark.parametrize("path", ["disk.img", "./a?b", "a:b", "c:/x", "-"])
def test_paths(path: str) -> None:
    """Names of files are not taken for URLs."""
    assert not is_like_url(path)
