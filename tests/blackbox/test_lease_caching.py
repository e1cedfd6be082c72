"""http.md §12: how private images may be kept that are served to holders of leases alone."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import VERSION
from tests.blackbox.private_images import (
    BROWSER_FOR_GOOD,
    KEPT_BY_NOBODY,
    KEPT_FOR_GOOD,
    NOBODY,
    PRIVATE_IDS,
    REQUESTS,
    make_root,
    virtual_path,
)
from tests.lease_tokens import KEYS, with_claims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields, Reply

ANYBODY_FOR_GOOD = "public, max-age=31536000, immutable, no-transform"
VARY = "Authorization, Cookie"


def lease(**claims: object) -> str:
    """Return a token that opens the private images for some minutes."""
    now = int(time.time())
    return with_claims(**({"img": [*PRIVATE_IDS, "nobody"], "iat": now - 60, "exp": now + 600} | claims))


def lease_flags(home: Path) -> list[str]:
    """Return the flags of a daemon that asks for leases."""
    keys = home / "keys.json"
    keys.write_bytes(KEYS)
    keys.chmod(0o600)
    return ["--lease-keys-file", str(keys), "--lease-failures-per-sec", "0"]


@pytest.fixture(scope="module")
def leasing(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon with leases, which the tests below leave as it is."""
    path = home("lease-caching")
    make_root(path / "images")
    with running(path, *lease_flags(path)) as found:
        yield found


CARRIERS = ["bearer", "query", "cookie"]


def shown(carrier: str, path: str, token: str) -> tuple[str, Fields]:
    """Return the target and the fields of a request that shows a token."""
    if carrier == "query":
        return f"{path}?lease={token}", {}
    return path, {"Authorization": f"Bearer {token}"} if carrier == "bearer" else {"Cookie": f"aero-lease={token}"}


@pytest.mark.parametrize(("method", "fields", "statuses"), REQUESTS[:4])
@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("path", [*KEPT_FOR_GOOD, *KEPT_BY_NOBODY])
def test_bytes(
    leasing: Daemon, path: str, carrier: str, method: str, fields: Fields, statuses: tuple[int, ...]
) -> None:
    """What a lease opens is kept by nobody and varies by credentials; what browsers may keep holds for any lease."""
    target, credentials = shown(carrier, path, lease())
    reply = leasing.ask(target, method, dict(credentials) | dict(fields))
    assert reply.status in statuses
    kept = (BROWSER_FOR_GOOD, None) if path in KEPT_FOR_GOOD else (NOBODY, VARY)
    assert (reply["Cache-Control"], reply.get("Vary")) == kept


@pytest.mark.parametrize("carrier", CARRIERS)
def test_virtual_chunks(leasing: Daemon, carrier: str) -> None:
    """Browsers may keep virtual chunks under a version, and not their manifest."""
    for rest, kept in (("chunks/00000001.bin", (BROWSER_FOR_GOOD, None)), ("manifest", (NOBODY, VARY))):
        path = virtual_path(leasing, rest, {"Authorization": f"Bearer {lease()}"})
        target, credentials = shown(carrier, path, lease())
        reply = leasing.ask(target, fields=credentials)
        assert (reply.status, reply["Cache-Control"], reply.get("Vary")) == (200, *kept)


@pytest.mark.parametrize("path", ["/v1/images/private/meta", "/v1/images/kept/meta", "/v1/images"])
@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("fields", [{}, {"If-None-Match": "*"}], ids=repr)
def test_private_metadata(leasing: Daemon, path: str, carrier: str, fields: dict[str, str]) -> None:
    """Metadata of a private image, and a list that shows one, are kept by nobody and vary by credentials."""
    target, credentials = shown(carrier, path, lease())
    reply = leasing.ask(target, fields=dict(credentials) | fields)
    assert (reply.status, reply["Cache-Control"], reply["Vary"]) == (304 if fields else 200, NOBODY, VARY)


@pytest.mark.parametrize("fields", [{}, {"Cookie": "a=b"}, {"Authorization": "Bearer x"}], ids=repr)
def test_public_list(leasing: Daemon, fields: Fields) -> None:
    """A list that shows no private image is revalidated, and varies by credentials all the same."""
    reply = leasing.ask("/v1/images", fields=fields)
    assert [image["id"] for image in reply.json()] == ["disk"]
    assert (reply["Cache-Control"], reply["Vary"]) == ("no-cache", VARY)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/v1/images/disk", "public, max-age=3600, no-transform"),
        (f"/v1/images/disk/versions/{VERSION}", ANYBODY_FOR_GOOD),
        ("/v1/images/disk/meta", "no-cache"),
    ],
)
def test_public_images(leasing: Daemon, path: str, kept: str) -> None:
    """A public image is kept as without leases, and nothing of it varies by credentials."""
    reply = leasing.ask(path)
    assert (reply.status, reply["Cache-Control"], reply.get("Vary")) == (200, kept, None)
    for carrier in CARRIERS:
        target, credentials = shown(carrier, path, lease())
        reply = leasing.ask(target, fields=credentials)
        expected = "no-cache" if kept == "no-cache" else NOBODY
        assert (reply.status, reply["Cache-Control"], reply.get("Vary")) == (200, expected, None)
    for fields, status in (({"Range": "bytes=999999-"}, 416), ({"If-Match": '"x"'}, 412)):
        reply = leasing.ask("/v1/images/disk", fields=fields)
        assert (reply.status, reply.get("Vary")) == (status, None)


CLOSED = [
    "/v1/images/private",
    KEPT_FOR_GOOD[0],
    KEPT_FOR_GOOD[2],
    "/v1/images/kept/meta",
    "/v1/images/nobody",
    "/v1/images/private/lease",
    "/v1/images/nobody/lease",
]


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize(
    ("claims", "status"), [(None, 401), ({"exp": 1, "iat": 0}, 401), ({"img": "other"}, 403), ({"scope": ""}, 403)]
)
def test_refusals_vary_by_credentials(
    leasing: Daemon, path: str, claims: dict[str, object] | None, status: int
) -> None:
    """Each 401 and 403 is kept by nobody and varies by credentials."""
    fields = {} if claims is None else {"Authorization": f"Bearer {lease(**claims)}"}
    reply = leasing.ask(path, fields=fields)
    assert (reply.status, reply["Vary"]) == (status, VARY)
    assert "no-store" in reply["Cache-Control"]


@pytest.mark.parametrize("path", ["/v1/images/private/lease", "/v1/images/disk/lease"])
def test_lease_route_varies_by_credentials(leasing: Daemon, path: str) -> None:
    """The lease route's 204 is kept by nobody and varies by credentials."""
    reply = leasing.ask(path, fields={"Authorization": f"Bearer {lease()}"})
    assert (reply.status, reply["Vary"]) == (204, VARY)
    assert "no-store" in reply["Cache-Control"]


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/v1/images/nobody", {}, 404),
        ("/v1/images/nobody/meta", {}, 404),
        ("/v1/images/kept/versions/v-0", {}, 404),
        ("/v1/images/chunks/chunked/chunks/00000009.bin", {}, 404),
        (KEPT_FOR_GOOD[0], {"Range": "bytes=999999-"}, 416),
        (KEPT_FOR_GOOD[0], {"If-Match": '"x"'}, 412),
        ("/v1/images/private/meta", {"If-Match": '"x"'}, 412),
        ("/v1/images", {"If-Match": '"x"'}, 412),
    ],
)
def test_errors(leasing: Daemon, path: str, fields: dict[str, str], status: int) -> None:
    """Errors behind a lease are kept by nobody and vary by credentials: without the lease they were refusals."""
    reply = leasing.ask(path, fields={"Authorization": f"Bearer {lease()}"} | fields)
    assert (reply.status, reply["Vary"]) == (status, VARY)
    assert "no-store" in reply["Cache-Control"]


def test_clients_that_guess(home: Callable[[str], Path]) -> None:
    """The 429 of a client that has shown too many bad tokens varies by credentials, of a public image none does."""
    path = home("lease-caching-guesses")
    make_root(path / "images")
    with running(path, *lease_flags(path), "--lease-failures-per-sec", "1") as daemon, daemon.dial() as conn:

        def guess() -> Reply | None:
            guessed = {"Authorization": f"Bearer {lease(jti=secrets.token_hex())}x"}
            reply = conn.ask("GET", "/v1/images/private", guessed)
            return reply if reply.status == 429 else None

        refused = until(guess)
        assert refused is not None
        assert refused["Vary"] == VARY
        assert conn.ask("GET", "/v1/images/disk", {"Authorization": "Bearer x"}).get("Vary") is None


def test_allowlist(home: Callable[[str], Path]) -> None:
    """With an allowlist of origins, one `Vary` names the origin and the credentials."""
    path = home("lease-caching-origins")
    make_root(path / "images")
    origin = {"Origin": "https://a.example"}
    with running(path, "--cors-origin", "https://a.example", *lease_flags(path)) as daemon:
        for target, vary in (
            ("/v1/images/kept", f"Origin, {VARY}"),
            ("/v1/images/kept/meta", f"Origin, {VARY}"),
            ("/v1/images", f"Origin, {VARY}"),
            ("/v1/images/nobody", f"Origin, {VARY}"),
            ("/v1/images/private/lease", f"Origin, {VARY}"),
            (KEPT_FOR_GOOD[0], "Origin"),
            ("/v1/images/disk", "Origin"),
        ):
            for fields in (origin, origin | {"Authorization": f"Bearer {lease()}"}):
                reply = daemon.ask(target, fields=fields)
                is_refused = reply.status in {401, 403}
                assert [value for name, value in reply.fields if name == "Vary"] == [
                    f"Origin, {VARY}" if is_refused else vary
                ]
