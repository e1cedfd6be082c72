"""The nginx that caches: what it keeps, what it does not, and what it never mixes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.clients.nginx_proxy import CHUNKED, DISK, IMAGE, SITE_FILES, SLICE, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.clients.nginx_proxy import NginxProxy

STREAM_BROKEN_OFF = 92  # curl's status for an HTTP/2 stream that was reset


@pytest.fixture(scope="module")
def cache(start_proxied_daemon: Callable[..., NginxProxy]) -> NginxProxy:
    """The file that caches, with an empty cache."""
    return start_proxied_daemon(SITE_FILES[1])


READS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "range": (IMAGE, ("-r", f"{SLICE + 5}-{SLICE + 999}"), 1),
    "slice of data": (f"{IMAGE}/data", ("-r", f"{2 * SLICE}-{3 * SLICE - 1}"), 1),
    "range of a version": (f"{IMAGE}/versions/{{version}}", ("-r", f"{SLICE + 5}-{SLICE + 999}"), 1),
    "data of a version": (f"{IMAGE}/versions/{{version}}/data", ("-r", f"9-{2 * SLICE}"), 3),
    "range over slices": (IMAGE, ("-r", f"{3 * SLICE - 9}-{len(DISK) - 9}"), 4),
    "chunk": (f"{CHUNKED}/v1/chunks/00000001.bin", (), 1),
    "manifest": (f"{CHUNKED}/v1/manifest.json", (), 1),
}


@pytest.mark.parametrize(("target", "words", "questions"), READS.values(), ids=READS)
def test_cache_serves_the_second_read(cache: NginxProxy, target: str, words: tuple[str, ...], questions: int) -> None:
    """What was read once is read from nginx the second time: the daemon hears nothing of it."""
    target = target.format(version=version_of(cache))
    ids = [f"{name}-of-{'-'.join(words)}-{target}" for name in ("first", "second")]
    first, second = (cache.curl.fetch(target, *words, "-H", f"X-Request-Id: {one}") for one in ids)
    assert [one.headers["x-cache-status"] for one in (first, second)] == ["MISS", "HIT"]
    assert first.comparable == second.comparable == cache.direct.fetch(target, *words).comparable
    assert [cache.asked(one) for one in ids] == [questions, 0]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/v1/images/secret", ("-r", "0-9")),
        ("/v1/images/secret/chunked/v1/chunks/00000000.bin", ()),
        (IMAGE, ("-r", "0-9", "-H", "Cookie: a=b")),
        (f"{CHUNKED}/v1/chunks/00000000.bin", ("-H", "Authorization: Bearer x")),
        (IMAGE, ("-r", "-9")),
        (f"{IMAGE}/meta", ()),
        ("/v1/images/unknown", ("-r", "0-9")),
        (f"{IMAGE}/versions/v-0", ("-r", "0-9")),
        (f"{IMAGE}/versions/{{version}}", ("-r", "0-9", "-H", "Cookie: a=b")),
    ],
)
def test_what_is_not_cached(cache: NginxProxy, target: str, words: tuple[str, ...]) -> None:
    """Private images, what was asked for with credentials, and refusals come from the daemon each time."""
    target = target.format(version=version_of(cache))
    for public in (IMAGE, f"{CHUNKED}/v1/chunks/00000000.bin"):
        cache.curl.fetch(public, "-r", "0-9")
    for number in range(2):
        request_id = f"{number}-{'-'.join(words).replace(' ', '')}-{target}"
        answer = cache.curl.fetch(target, *words, "-H", f"X-Request-Id: {request_id}")
        assert answer.headers.get("x-cache-status", "MISS") == "MISS"
        assert cache.asked(request_id) == 1


def version_of(cache: NginxProxy, target: str = IMAGE) -> str:
    """The version of an image, as the daemon tells it."""
    version: str = json.loads(cache.direct.fetch(f"{target}/meta").body)["version"]
    return version


def file_of(cache: NginxProxy) -> Path:
    """The file of the image that is replaced."""
    images = json.loads((cache.root / "manifest.json").read_text())["images"]
    (entry,) = (one for one in images if one["id"] == "moving")
    return cache.root / str(entry["file"])


def present_bytes(cache: NginxProxy) -> bytes:
    """The bytes of that file."""
    return file_of(cache).read_bytes()


def replace(cache: NginxProxy) -> None:
    """Put other bytes of the same size in its place."""
    (cache.root / "new").write_bytes(present_bytes(cache)[::-1])
    (cache.root / "new").rename(file_of(cache))


def test_replaced_image_is_never_mixed(cache: NginxProxy) -> None:
    """A read over slices of the old and of the new image is broken off where the new ones begin."""
    target = "/v1/images/moving"
    cache.curl.fetch(target, "-r", "0-9")
    tag = cache.direct.fetch(target, "-I").headers["etag"]
    replace(cache)
    until(lambda: cache.direct.fetch(target, "-I").headers["etag"] != tag, "the new image")
    broken = cache.curl.fetch(target, "-r", f"0-{2 * SLICE - 1}", accept=STREAM_BROKEN_OFF)
    assert broken.headers["etag"] == tag
    assert broken.body == DISK[: len(broken.body)]
    assert len(broken.body) <= SLICE
    assert cache.curl.fetch(target, "-r", f"{SLICE}-{SLICE + 9}").body == DISK[::-1][SLICE : SLICE + 10]


def test_replaced_version_stays_as_it_was(cache: NginxProxy) -> None:
    """Under its version a replaced image has the bytes that the cache kept of it, or is missing: never new ones."""
    version, words = version_of(cache, "/v1/images/moving"), ("-r", "5-9")
    target = f"/v1/images/moving/versions/{version}"
    kept = cache.curl.fetch(target, *words)
    assert (kept.status, kept.body) == (206, present_bytes(cache)[5:10])
    replace(cache)
    until(lambda: version_of(cache, "/v1/images/moving") != version, "the new image")
    again = cache.curl.fetch(target, *words)
    assert (again.headers["x-cache-status"], again.comparable) == ("HIT", kept.comparable)
    assert cache.curl.fetch(target, "-r", f"{SLICE}-{SLICE + 9}").status == 404
    new = cache.curl.fetch(f"/v1/images/moving/versions/{version_of(cache, '/v1/images/moving')}", *words)
    assert (new.status, new.body) == (206, present_bytes(cache)[5:10])
