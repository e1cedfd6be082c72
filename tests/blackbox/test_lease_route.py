"""http.md §12: the lease route, for proxies that ask, and the cookie for which a token is exchanged."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import DISK, VERSION, small_root
from tests.blackbox.leased_root import lease, leased, leased_root, now
from tests.blackbox.raw_http import RawConnection
from tests.certificates import write_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon

ROUTE = "/v1/images/secret/lease"


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """One behind a proxy on this machine, with one page on its allowlist."""
    flags = ("--trusted-proxy", "127.0.0.1", "--cors-origin", "https://app.test", "--lease-failures-per-sec", "0")
    with leased(home("lease-route"), *flags) as running_daemon:
        yield running_daemon


@pytest.fixture(scope="module")
def untrusting(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """One that trusts no proxy."""
    with leased(home("no-proxy"), "--max-concurrent-bytes-requests", "1") as running_daemon:
        yield running_daemon


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} | more


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_good_lease(daemon: Daemon, method: str) -> None:
    """A good lease is a 204 that nobody may keep, with the time that is left; it is counted and logged."""
    before = daemon.metrics()
    reply, line = daemon.traced(ROUTE, method, bearer(lease(jti="asked")))
    assert (reply.status, reply.body, reply["Cache-Control"]) == (204, b"", "no-store")
    assert 590 <= int(reply["Aero-Lease-Remaining"] or 0) <= 600
    assert (line["route"], line["lease"]) == ("/v1/images/:image_id/lease", "asked")
    assert reply["Cross-Origin-Resource-Policy"] is not None
    daemon.rises(before, 1, "aero_storage_leases_total", result="ok")


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda: None, 401),
        (lambda: "junk", 401),
        (lambda: lease("open"), 403),
        (lambda: lease(scope=""), 403),
        (lambda: lease(iat=1, exp=2), 401),
    ],
)
@pytest.mark.parametrize("image", ["secret", "nosuch"])
def test_refused(daemon: Daemon, image: str, make: Callable[[], str | None], status: int) -> None:
    """Without a good lease it is a 401 or 403, also for an id that does not exist."""
    token = make()
    reply = daemon.ask(f"/v1/images/{image}/lease", fields={} if token is None else bearer(token))
    assert reply.status == status
    assert reply["WWW-Authenticate"] is not None
    assert "no-store" in reply["Cache-Control"]


def test_unknown_id_with_a_lease_that_names_it(daemon: Daemon) -> None:
    """For an id that does not exist a good lease is a 403, never a 404, and does not say how long it is good."""
    before = daemon.metrics()
    reply = daemon.ask("/v1/images/nosuch/lease", fields=bearer(lease("nosuch")))
    assert (reply.status, reply.get("Aero-Lease-Remaining")) == (403, None)
    daemon.rises(before, 1, "aero_storage_leases_total", result="wrong_image")


def test_image_without_a_file(daemon: Daemon) -> None:
    """A private image of which the file is missing is asked for its lease alone."""
    assert daemon.ask("/v1/images/gone/lease", fields=bearer(lease("gone"))).status == 204
    assert daemon.ask("/v1/images/gone/lease", fields=bearer(lease("gone", ver="v-0"))).status == 403


def test_public_image(daemon: Daemon) -> None:
    """For a public image it is a 204 whatever is presented, and nothing is counted."""
    before = daemon.metrics()
    for fields in ({}, bearer("junk"), bearer(lease("other"))):
        reply = daemon.ask("/v1/images/open/lease?cookie=1", fields=fields)
        assert (reply.status, reply.get("Set-Cookie"), reply.get("Aero-Lease-Remaining")) == (204, None, None)
    after = daemon.metrics()
    for labels in before.labels("aero_storage_leases_total"):
        assert after.value("aero_storage_leases_total", **labels) == before.value(
            "aero_storage_leases_total", **labels
        )


def test_invalid_id(daemon: Daemon) -> None:
    """An invalid id is a 404 of the data plane."""
    assert daemon.ask("/v1/images/%2e%2e/lease").status == 404


def test_versions(daemon: Daemon) -> None:
    """A lease for one version is good for that one: the one asked for, else the present one."""
    good, bad = bearer(lease(ver=VERSION)), bearer(lease(ver="v-0"))
    assert daemon.ask(ROUTE, fields=good).status == 204
    assert daemon.ask(ROUTE, fields=bad).status == 403
    assert daemon.ask(f"{ROUTE}?version={VERSION}", fields=bad).status == 403
    assert daemon.ask(f"{ROUTE}?version=v-0", fields=bad).status == 204
    assert daemon.ask(f"{ROUTE}?version=v-0", fields=bearer(lease())).status == 204


@pytest.mark.parametrize("name", ["X-Original-URI", "X-Forwarded-Uri"])
def test_query_of_the_original_request(daemon: Daemon, untrusting: Daemon, name: str) -> None:
    """From a trusted proxy the query of the original request counts behind its own; from others it does not."""
    original = {name: f"/v1/images/secret?x=1&lease={lease(jti='original')}"}
    reply, line = daemon.traced(ROUTE, fields=original)
    assert (reply.status, line["lease"]) == (204, "original")
    _, line = daemon.traced(f"{ROUTE}?lease={lease(jti='own')}", fields=original)
    assert line["lease"] == "own"
    assert untrusting.ask(ROUTE, fields=original).status == 401
    assert daemon.ask("/v1/images/secret", fields=original).status == 401, "on the lease route alone"


def test_version_of_the_original_request(daemon: Daemon) -> None:
    """The client does not choose the version for which the proxy asks."""
    original = {"X-Original-URI": f"/v1/images/secret?version=v-0&cookie=1&lease={lease(ver='v-0')}"}
    reply = daemon.ask(ROUTE, fields=original)
    assert (reply.status, reply.get("Set-Cookie")) == (403, None)


def test_takes_no_place(untrusting: Daemon) -> None:
    """It takes no place under the cap: it is answered while all are taken."""
    with untrusting.dial(receive_buffer=4096) as busy:
        busy.send(b"GET /v1/images/open HTTP/1.1\r\nHost: store.test\r\n\r\n" * 40)
        until(lambda: untrusting.metrics().value("aero_storage_places_taken") == 1)
        for _ in range(5):
            assert untrusting.ask(ROUTE, fields=bearer(lease())).status == 204


# The cookie

PATH = "Path=/v1/images/secret"


def cookie_of(daemon: Daemon, token: str, method: str = "GET", /, **fields: str) -> list[str] | None:
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    reply = daemon.ask(f"{ROUTE}?lease={token}&cookie=1", method, given)
    assert reply.status == 204
    cookie = reply.get("Set-Cookie")
    return None if cookie is None else cookie.split("; ")


@pytest.mark.parametrize(
    ("fields", "attributes"),
    [
        ({}, ["SameSite=Lax"]),
        ({"Sec_Fetch_Site": "same-origin"}, ["SameSite=Lax"]),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "https://app.test"}, ["SameSite=Lax"]),
        ({"X_Forwarded_Proto": "http"}, ["SameSite=Lax"]),
        ({"X_Forwarded_Proto": "https"}, ["Secure", "SameSite=Lax"]),
        ({"X_Forwarded_Proto": "https", "Origin": "https://store.test"}, ["Secure", "SameSite=Lax"]),
        ({"X_Forwarded_Proto": "https", "Origin": "https://store.test:8443"}, ["Secure", "SameSite=Lax"]),
        ({"X_Forwarded_Proto": "https", "Origin": "https://app.test"}, ["Secure", "SameSite=None", "Partitioned"]),
        ({"X_Forwarded_Proto": "https", "Origin": "null"}, ["Secure", "SameSite=None", "Partitioned"]),
        (
            {"X_Forwarded_Proto": "https", "Origin": "https://app.test", "Sec_Fetch_Site": "same-site"},
            ["Secure", "SameSite=Lax"],
        ),
        (
            {"X_Forwarded_Proto": "https", "Origin": "https://app.test", "Sec_Fetch_Site": "cross-site"},
            ["Secure", "SameSite=None", "Partitioned"],
        ),
    ],
)
def test_cookie(daemon: Daemon, fields: dict[str, str], attributes: list[str]) -> None:
    """A token is exchanged for a cookie of its image, which says no more than it has to, and opens the image."""
    token = lease(uexp=now() + 60)
    found = cookie_of(daemon, token, **fields)
    assert found is not None
    name = "__Secure-aero-lease" if "Secure" in attributes else "aero-lease"
    pair, path, http_only, age, *rest = found
    assert (pair, path, http_only, rest) == (f"{name}={token}", PATH, "HttpOnly", attributes)
    assert 590 <= int(age.removeprefix("Max-Age=")) <= 600
    assert daemon.ask("/v1/images/secret", fields={"Cookie": pair}).status == 200


@pytest.mark.parametrize("origin", [None, "https://evil.test"])
def test_no_cookie_for_other_sites(daemon: Daemon, origin: str | None) -> None:
    """A page of another site that is not on the allowlist gets none, whatever it presents."""
    fields = {} if origin is None else {"Origin": origin}
    assert cookie_of(daemon, lease(), Sec_Fetch_Site="cross-site", **fields) is None


def test_no_cookie_where_any_origin_may_read(untrusting: Daemon) -> None:
    """Without an allowlist no page of another site is on it; a proxy that is not trusted says nothing of TLS."""
    assert cookie_of(untrusting, lease(), Sec_Fetch_Site="cross-site", Origin="https://app.test") is None
    pair, *rest = cookie_of(untrusting, lease(), X_Forwarded_Proto="https") or []
    assert (pair.startswith("aero-lease="), "Secure" in rest, rest[-1]) == (True, False, "SameSite=Lax")


def test_cookie_over_tls(home: Callable[[str], Path]) -> None:
    """Over TLS the cookie is `Secure`, without a proxy that says so, and opens the image there."""
    path = home("lease-tls")
    write_certificate(path)
    with leased(path, "--endpoint", "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem") as daemon:
        with tls(daemon) as conn:
            reply = conn.ask("GET", f"{ROUTE}?cookie=1", bearer(lease()))
            pair, *rest = (reply["Set-Cookie"] or "").split("; ")
            assert pair.startswith("__Secure-aero-lease=")
            assert rest[-2:] == ["Secure", "SameSite=Lax"]
            opened = conn.ask("GET", "/v1/images/secret", {"Cookie": pair, "Range": "bytes=0-9"})
        assert (opened.status, opened.body) == (206, DISK[:10])


def tls(daemon: Daemon) -> RawConnection:
    """Connect to the last of the daemon's addresses."""
    *_, address = [line["address"] for line in daemon.lines() if line["message"] == "listening"]
    plain = RawConnection.dial(int(address.rpartition(":")[2]))
    context = ssl.create_default_context(cafile=daemon.home / "cert.pem")
    return RawConnection(context.wrap_socket(plain.sock, server_hostname="localhost"))


def test_head_sets_no_cookie(daemon: Daemon) -> None:
    """HEAD sets none."""
    assert cookie_of(daemon, lease(), "HEAD") is None


def test_refused_sets_no_cookie(daemon: Daemon) -> None:
    """A lease that is refused is no cookie."""
    for token in ("junk", lease("open")):
        assert daemon.ask(f"{ROUTE}?cookie=1&lease={token}").get("Set-Cookie") is None


# Without a catalog, and without leases


def test_directory_listing(home: Callable[[str], Path]) -> None:
    """In a directory listing every image is public, and what it does not show is a 404, with a lease or without."""
    path = home("lease-listing")
    leased_root(path)
    (path / "images" / "manifest.json").unlink()
    with running(path, "--lease-keys-file", str(path / "keys.json")) as daemon:
        assert daemon.ask("/v1/images/disk.img").status == 200
        assert daemon.ask("/v1/images/disk.img/lease").status == 204
        for fields in ({}, bearer(lease("nosuch"))):
            for route in ("", "/meta", "/lease", "/chunked/manifest"):
                assert daemon.ask(f"/v1/images/nosuch{route}", fields=fields).status == 404
        assert {v for (n, _), v in daemon.metrics().samples.items() if n == "aero_storage_leases_total"} == {0}


def test_leases_off(home: Callable[[str], Path]) -> None:
    """While leases are off it is a 204 for everything, and nothing is counted."""
    path = home("leases-off")
    small_root(path / "images")
    with running(path) as daemon:
        for fields in ({}, bearer("junk")):
            assert daemon.ask("/v1/images/nosuch/lease?cookie=1", fields=fields).status == 204
        samples = daemon.metrics().samples
        assert {value for (name, _), value in samples.items() if name == "aero_storage_leases_total"} == {0}
