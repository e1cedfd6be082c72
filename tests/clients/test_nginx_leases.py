"""The nginx that caches private images: nobody gets what it keeps without a lease that the daemon finds good."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest
from tests.clients.leased_images import MOVING, OTHER, SECRET, LeasedImages, bearer, lease
from tests.clients.nginx_proxy import CHUNK, DISK, IMAGE, SLICE, NginxProxy, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.clients.nginx_proxy import Curl, CurlResponse

SITE = "aero-storage-cache-leases.conf"
LEASE_ROUTE = "/v1/images/:image_id/lease"
STREAM_BROKEN_OFF = 92
SOON = 2.0
"""Within a second, on a machine that does other things too."""


@pytest.fixture(scope="module")
def images(operate: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> LeasedImages:
    """Images of which some are private."""
    return LeasedImages.write(tmp_path_factory.mktemp("leased"), operate)


@pytest.fixture(scope="module")
def start_cache(
    images: LeasedImages,
    start_daemon: Callable[..., tuple[str, int, Path]],
    start_nginx: Callable[..., tuple[Curl, int]],
) -> Callable[..., NginxProxy]:
    """Give a function that starts a daemon that asks for leases, and the nginx that keeps private slices."""

    def start(*flags: str) -> NginxProxy:
        url, _, log = start_daemon(images.root, *images.flags, *flags)
        curl, port = start_nginx(SITE, url.removeprefix("http://"))
        (curl.place / "direct").mkdir()
        direct = type(curl)(curl.path, curl.place / "direct", url)
        return NginxProxy(curl, direct, images.root, log, port, is_cache=True)

    return start


@pytest.fixture(scope="module")
def cache(start_cache: Callable[..., NginxProxy]) -> NginxProxy:
    """One for all tests here; bad leases are not limited."""
    return start_cache("--lease-failures-per-sec", "0")


def version_of(cache: NginxProxy, image: str = SECRET) -> str:
    name = image.rpartition("/")[2]
    meta = cache.direct.fetch(f"{image}/meta", *bearer(lease(name)))
    version: str = json.loads(meta.body)["version"]
    return version


def versioned(cache: NginxProxy, image: str = SECRET) -> str:
    return f"{image}/versions/{version_of(cache, image)}"


def routes_asked(cache: NginxProxy, request_id: str) -> list[object]:
    """The routes at which the daemon was asked for a request."""
    cache.asked(request_id)  # waits for its lines
    return [line["route"] for line in cache.lines() if line["request_id"] == request_id]


CARRIERS: dict[str, Callable[[str], tuple[str, tuple[str, ...]]]] = {
    "bearer": lambda token: ("", bearer(token)),
    "query": lambda token: (f"?lease={token}", ()),
    "query among others": lambda token: (f"?x=1&lease={token}&y=2", ()),
    "cookie": lambda token: ("", ("-b", f"a=1; aero-lease={token}")),
    "secure cookie": lambda token: ("", ("-b", f"__Secure-aero-lease={token}")),
}


@pytest.mark.parametrize(
    ("site", "kind"), [("same-site", "SameSite=Lax"), ("cross-site", "SameSite=None; Partitioned")]
)
def test_cookie_of_a_tls_site(start_cache: Callable[..., NginxProxy], site: str, kind: str) -> None:
    """A cookie that is exchanged behind nginx's TLS is `Secure`, so that it never travels without TLS."""
    cache = start_cache("--cors-origin", "https://app.test")
    words = ("-H", f"Sec-Fetch-Site: {site}", "-H", "Origin: https://app.test", "-H", "X-Forwarded-Proto: http")
    answer = cache.curl.fetch(f"{SECRET}/lease?cookie=1&lease={lease()}", *words)
    assert (answer.status, answer.headers["set-cookie"].partition("=")[0]) == (204, "__Secure-aero-lease")
    assert answer.headers["set-cookie"].endswith(f"; Secure; {kind}")


READS: dict[str, tuple[str, tuple[str, ...], bytes]] = {
    "range": ("{version}", ("-r", f"{SLICE + 5}-{SLICE + 999}"), DISK[SLICE + 5 : SLICE + 1000]),
    "range of data": ("{version}/data", ("-r", "9-99"), DISK[9:100]),
    "range over slices": ("{version}", ("-r", f"5-{3 * SLICE}"), DISK[5 : 3 * SLICE + 1]),
    "chunk": (f"{SECRET}/chunked/v1/chunks/00000001.bin", (), DISK[CHUNK : 2 * CHUNK]),
}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(("target", "words", "body"), READS.values(), ids=READS)
def test_another_lease_reads_from_the_cache(
    cache: NginxProxy, target: str, words: tuple[str, ...], body: bytes, carrier: str
) -> None:
    """What one client has read, the lease of another opens in the cache: the daemon hears of the lease alone."""
    target = target.format(version=versioned(cache))
    cache.curl.fetch(target, *words, *bearer(lease(seconds=900)))
    query, shown = CARRIERS[carrier](lease(seconds=500))
    request_id = f"from-cache-{time.monotonic_ns()}"
    answer = cache.curl.fetch(target + query, *words, *shown, "-H", f"X-Request-Id: {request_id}")
    assert answer.status in {200, 206}
    assert (answer.headers["x-cache-status"], answer.body) == ("HIT", body)
    assert routes_asked(cache, request_id) == [LEASE_ROUTE]
    assert 490 <= int(answer.headers["aero-lease-remaining"]) <= 500
    assert answer.headers["x-request-id"] == request_id
    direct = cache.direct.fetch(target + query, *words, *shown)
    assert {**answer.headers, "aero-lease-remaining": ""}.items() >= {
        (name, value)
        for name, value in direct.headers.items()
        if name.startswith(("access-control", "cross-origin", "cache-control", "content", "etag", "vary"))
    }


REFUSED: dict[str, tuple[Callable[[], tuple[str, ...]], int]] = {
    "none": (tuple, 401),
    "no token": (lambda: bearer("x.y.z"), 401),
    "not signed": (lambda: bearer(lease()[:-8] + "AAAAAAAA"), 401),
    "over": (lambda: bearer(lease(seconds=-1)), 401),
    "for another image": (lambda: bearer(lease("other")), 403),
    "for another version": (lambda: bearer(lease(ver="v-0")), 403),
    "without scope": (lambda: bearer(lease(scope="disk:write")), 403),
    "empty": (lambda: ("-b", "aero-lease="), 401),
}


@pytest.mark.parametrize(("words", "status"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("target", ["{version}", f"{SECRET}/chunked/v1/chunks/00000000.bin"])
def test_without_a_good_lease(
    cache: NginxProxy, target: str, words: Callable[[], tuple[str, ...]], status: int
) -> None:
    """Nobody gets kept bytes without a good lease; the refusal is the daemon's own, with all its headers."""
    target, part = target.format(version=versioned(cache)), ("-r", "0-99")
    for _ in range(2):
        assert cache.curl.fetch(target, *part, *bearer(lease())).body[:100] == DISK[:100]
    shown = (*part, *words(), "-H", "Origin: https://a.test")
    answer, direct = cache.curl.fetch(target, *shown), cache.direct.fetch(target, *shown)
    assert answer.status == status
    assert answer.comparable == direct.comparable
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "access-control-allow-origin" in answer.headers
    assert "no-store" in answer.headers["cache-control"]


@pytest.mark.parametrize("name", ["If-Range", "Range", "X-Request-Id", "Host"])
def test_another_url_in_a_field(cache: NginxProxy, name: str) -> None:
    """The lease is judged for the image of the URL, though a header field has the URL of another image."""
    target, part = versioned(cache), ("-r", "0-9")
    for _ in range(2):
        assert cache.curl.fetch(target, *part, *bearer(lease())).body == DISK[:10]
    etag = cache.direct.fetch(target, "-I", *bearer(lease())).headers["etag"]
    lure = f"{OTHER}/versions/{version_of(cache, OTHER)}"
    value = {"If-Range": f"{etag} {lure} {lure}?", "Range": f"bytes=0-9  {lure} {lure}?"}.get(name, f"{lure} {lure}?")
    words = ("-H", f"{name}: {value}", *(() if name == "Range" else part))
    answer = cache.curl.fetch(target, *words, *bearer(lease("other")))
    assert answer.status in {400, 403}
    assert DISK[:10] not in answer.body


def test_lease_of_a_version(cache: NginxProxy) -> None:
    """A lease for one version opens its URLs in the cache, and no other."""
    target, part = versioned(cache), ("-r", "0-9")
    for _ in range(2):
        answer = cache.curl.fetch(target, *part, *bearer(lease(ver=version_of(cache))))
        assert answer.body == DISK[:10]
    assert answer.headers["x-cache-status"] == "HIT"
    chunk = f"{SECRET}/chunked/v1/chunks/00000002.bin"
    cache.curl.fetch(chunk, *bearer(lease()))
    assert cache.curl.fetch(chunk, *bearer(lease(ver="v1"))).headers["x-cache-status"] == "HIT"
    assert cache.curl.fetch(chunk, *bearer(lease(ver="v2"))).status == 403


def refused_soon(cache: NginxProxy, target: str, token: str, since: float) -> None:
    """Ask until the lease is refused; what comes before that comes from the cache."""

    def is_refused() -> bool:
        answer = cache.curl.fetch(target, "-r", "0-9", *bearer(token))
        assert answer.status == 401 or answer.headers["x-cache-status"] == "HIT"
        return answer.status == 401

    until(is_refused, "the refusal")
    assert time.time() - since < SOON


def test_revoked(cache: NginxProxy, images: LeasedImages) -> None:
    """A lease that is revoked opens nothing in the cache any more within a second; others do."""
    target, token = versioned(cache), lease(jti="stolen")
    assert cache.curl.fetch(target, "-r", "0-9", *bearer(token)).status == 206
    images.revoke("stolen")
    refused_soon(cache, target, token, time.time())
    assert cache.curl.fetch(target, "-r", "0-9", *bearer(lease())).headers["x-cache-status"] == "HIT"


def test_expired(cache: NginxProxy) -> None:
    """A lease that ends opens nothing in the cache from then on."""
    target, end = versioned(cache), time.time() + 1.5
    token = lease(seconds=1.5, exp=end)
    cache.curl.fetch(target, "-r", "0-9", *bearer(lease()))
    assert cache.curl.fetch(target, "-r", "0-9", *bearer(token)).headers["x-cache-status"] == "HIT"
    refused_soon(cache, target, token, end)
    assert time.time() >= end


@pytest.mark.parametrize(
    "target",
    [SECRET, f"{SECRET}/data", f"{SECRET}/meta", f"{SECRET}/chunked/manifest.json", f"{OTHER}/versions/v-0"],
)
def test_what_is_not_kept(cache: NginxProxy, target: str) -> None:
    """Of a private image what may change, and what does not exist, comes from the daemon each time."""
    for _ in range(2):
        request_id = f"not-kept-{time.monotonic_ns()}"
        shown = (*bearer(lease(["secret", "other"])), "-r", "0-9", "-H", f"X-Request-Id: {request_id}")
        answer = cache.curl.fetch(target, *shown)
        assert answer.headers.get("x-cache-status", "MISS") == "MISS"
        assert routes_asked(cache, request_id)[-1:] != [LEASE_ROUTE]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("-H", "Range: bytes=5-2"), 416),
        (("-r", "99999999-99999999"), 416),
        (("-r", "0-9", "-H", 'If-Range: "x"'), 200),
        (("-r", "0-9", "-H", "If-None-Match: *"), 304),
        (("-I",), 200),
    ],
)
def test_other_answers(cache: NginxProxy, words: tuple[str, ...], status: int) -> None:
    """Whatever the answer to a good lease is, it is the daemon's, and says once for how long the lease is good."""
    target, shown = versioned(cache), bearer(lease(seconds=500))
    cache.curl.fetch(target, "-r", "0-9", *shown)
    answer, direct = (one.fetch(target, *words, *shown) for one in (cache.curl, cache.direct))
    assert answer.status == direct.status == status
    assert 490 <= int(answer.headers["aero-lease-remaining"]) <= 500
    assert answer.headers.get("content-range") == direct.headers.get("content-range")
    assert "x-request-id" in answer.headers


def test_public_image(cache: NginxProxy) -> None:
    """Public images are kept as they are without leases; a lease that is shown for one changes no byte."""
    target = f"{IMAGE}/versions/{json.loads(cache.direct.fetch(f'{IMAGE}/meta').body)['version']}"
    first, second = (cache.curl.fetch(target, "-r", "0-9") for _ in range(2))
    assert [one.headers["x-cache-status"] for one in (first, second)] == ["MISS", "HIT"]
    assert second.comparable == cache.direct.fetch(target, "-r", "0-9").comparable
    shown = cache.curl.fetch(target, "-r", "0-9", *bearer(lease()))
    assert (shown.status, shown.body) == (206, DISK[:10])
    assert "aero-lease-remaining" not in shown.headers


def test_replaced_image(cache: NginxProxy, images: LeasedImages) -> None:
    """Under its version a replaced image has the bytes that are kept of it, or is missing: never those of another."""
    old, shown, part = versioned(cache, MOVING), bearer(lease("moving")), ("-r", "5-9")
    before = version_of(cache, MOVING)
    assert cache.curl.fetch(old, *part, *shown).body == DISK[5:10]
    images.replace("moving")
    until(lambda: version_of(cache, MOVING) != before, "the new image")
    again = cache.curl.fetch(old, *part, *shown)
    assert (again.headers["x-cache-status"], again.body) == ("HIT", DISK[5:10])
    assert cache.curl.fetch(old, "-r", f"{SLICE}-{SLICE + 9}", *shown).status == 404
    over_slices = cache.curl.fetch(old, "-r", f"0-{2 * SLICE - 1}", *shown, accept=STREAM_BROKEN_OFF)
    assert over_slices.body == DISK[: len(over_slices.body)]
    new = cache.curl.fetch(versioned(cache, MOVING), *part, *shown)
    assert (new.status, new.body) == (206, DISK[::-1][5:10])
    assert cache.curl.fetch(MOVING, *part, *shown).body == DISK[::-1][5:10]


def test_removed_image(cache: NginxProxy, images: LeasedImages) -> None:
    """Of an image that the catalog has no more nothing is served, though it is kept."""
    target, shown, part = versioned(cache, OTHER), bearer(lease("other")), ("-r", "5-9")
    for _ in range(2):
        assert cache.curl.fetch(target, *part, *shown).body == DISK[5:10]
    catalog = json.loads((images.root / "manifest.json").read_text())
    catalog["images"] = [one for one in catalog["images"] if one["id"] != "other"]
    (images.root / "new").write_text(json.dumps(catalog))
    (images.root / "new").rename(images.root / "manifest.json")
    until(lambda: cache.curl.fetch(target, *part, *shown).status == 404, "the 404")


def test_too_many_bad_leases(start_cache: Callable[..., NginxProxy]) -> None:
    """What the daemon says to a flood of bad leases, 429, is what the client gets."""
    cache = start_cache("--lease-failures-per-sec", "1")
    target = versioned(cache)

    def is_limited() -> bool:
        answer = cache.curl.fetch(target, "-r", "0-9", *bearer(f"{lease()[:-8]}{time.monotonic_ns() % 10**8:08}"))
        assert answer.status in {401, 429}
        assert ("retry-after" in answer.headers) == (answer.status == 429)
        return any((line["route"], line["status"]) == (LEASE_ROUTE, 429) for line in cache.lines())

    until(is_limited, "a 429 of the lease route")
    assert not (cache.curl.place / "aero-storage-error.log").read_text()


def test_daemon_that_is_gone(
    images: LeasedImages,
    start_nginx: Callable[..., tuple[Curl, int]],
) -> None:
    """While nobody can say whether a lease is good, nothing private is served."""
    assert images.root.exists()
    curl, _ = start_nginx(SITE, "127.0.0.1:9")
    assert curl.fetch(f"{SECRET}/versions/v-0", "-r", "0-9", *bearer(lease())).status == 502


def test_origins(start_cache: Callable[..., NginxProxy]) -> None:
    """Each site on the allowlist is named to itself in what comes from the cache; others are named to nobody."""
    cache = start_cache("--cors-origin", "https://a.test,https://b.test")
    target = versioned(cache)

    def ask(origin: str) -> CurlResponse:
        return cache.curl.fetch(target, "-r", "0-9", "-H", f"Origin: {origin}", *bearer(lease()))

    for status in ("MISS", "HIT"):
        for origin in ("https://a.test", "https://b.test"):
            answer = ask(origin)
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert "Aero-Lease-Remaining" in answer.headers["access-control-expose-headers"]
            assert answer.headers["x-cache-status"] == status
    assert "access-control-allow-origin" not in ask("https://c.test").headers
    assert ask("https://d.test").headers["x-cache-status"] == "HIT"


def test_no_token_is_kept(start_cache: Callable[..., NginxProxy]) -> None:
    """Files, keys and logs of nginx hold no lease, good or bad, however it was shown and whatever went wrong."""
    cache = start_cache()
    tokens = [lease(seconds=600 + number) for number in range(len(CARRIERS))]
    tokens.append(bad := lease("other"))
    for target in (versioned(cache), SECRET, f"{SECRET}/chunked/v1/chunks/00000001.bin", f"{OTHER}/nothing"):
        for token, carrier in zip(tokens, CARRIERS.values(), strict=False):
            query, shown = carrier(token)
            cache.curl.fetch(target + query, "-r", "0-9", *shown, accept=0)
        cache.curl.fetch(f"{target}?lease={bad}", "-r", "0-9")
    files = [path for path in cache.curl.place.rglob("*") if path.is_file() and path.name not in {"head", "body"}]
    log = (cache.curl.place / "aero-storage.log").read_text()
    assert log.count("versions/") == len(tokens)
    assert re.search(r'"GET \S+ HTTP/2.0" 206 10 "bytes=0-9" [0-9.]+ MISS [0-9a-f-]{36}$', log, re.MULTILINE)
    kept = [path for path in files if re.fullmatch(r"[0-9a-f]{32}", path.name)]
    assert kept
    assert all(b"KEY: " in path.read_bytes() for path in kept)
    for path in files:
        content = path.read_bytes()
        assert not [token for token in tokens if token.split(".")[1].encode() in content], path
