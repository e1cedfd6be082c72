"""Header names: written as ever, and few of them kept."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.web import http, http_headers
from twisted.web.http_headers import Headers, InvalidHeaderName

from aero_storage.web.header_names import remember_few_header_names


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave Twisted as it was."""
    for module in (http, http_headers):
        monkeypatch.setattr(module, "_nameEncoder", module._nameEncoder)  # noqa: SLF001
    remember_few_header_names()


def kept() -> int:
    cache = http_headers._nameEncoder._canonicalHeaderCache  # noqa: SLF001
    return sum(len(name) + len(written) for name, written in cache.items())


@pytest.mark.parametrize("name", ["if-range", "IF-RANGE", "x-" + "a" * 200, "etag"])
def test_names_are_written_as_ever(name: str) -> None:
    """However long a name is, it is the same in any case."""
    headers = Headers()
    headers.addRawHeader(name, "1")
    assert headers.getRawHeaders(name.upper()) == ["1"]
    assert headers.hasHeader(name.lower().encode("ascii"))
    with pytest.raises(InvalidHeaderName):
        headers.addRawHeader(name + " ", "1")


def test_few_are_kept() -> None:
    """Thousands of names, and long ones, take no memory."""
    for number in range(5000):
        Headers({f"x-{number}": ["1"], f"x-{number}-{'a' * 10_000}": ["1"]})
    assert kept() <= 2 * 256 * 64


def test_few_are_kept_of_requests(stack: Any) -> None:
    """Nor do those that come with requests."""
    connection = stack.connect()
    for number in range(100):
        connection.get("/healthz", *((f"x-{number}-{one}", "1") for one in range(50)))
    assert {response.status for response in connection.responses()} == {200}
    assert 0 < kept() <= 2 * 256 * 64
