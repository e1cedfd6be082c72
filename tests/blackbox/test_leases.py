"""http.md §12: private images are served to holders of leases alone, whatever the route, method and carrier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.blackbox.image_roots import DISK, VERSION
from tests.blackbox.leased_root import CHUNK, REVOKED, SLICED_VERSION, lease, leased, now
from tests.lease_tokens import token_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Reply

IMAGE = "/v1/images/secret"
ROUTES = (
    "/v1/images/secret",
    "/v1/images/secret/data",
    "/v1/images/secret/meta",
    f"/v1/images/secret/versions/{VERSION}",
    f"/v1/images/secret/versions/{VERSION}/data",
    "/v1/images/secret/extents",
    f"/v1/images/secret/versions/{VERSION}/extents",
    "/v1/images/secret/profile",
    f"/v1/images/secret/versions/{VERSION}/profile",
    "/v1/images/chunky/chunked/manifest.json",
    "/v1/images/chunky/chunked/manifest",
    "/v1/images/chunky/chunked/chunks/00000000.bin",
    "/v1/images/chunky/chunked/v1/manifest.json",
    "/v1/images/chunky/chunked/v1/manifest",
    "/v1/images/chunky/chunked/v1/chunks/00000000.bin",
    "/v1/images/sliced/chunked/manifest.json",
    "/v1/images/sliced/chunked/chunks/00000000.bin",
)
IMAGES = ["secret", "chunky", "sliced", "gone", "nosuch"]


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    with leased(home("leased"), "--lease-failures-per-sec", "0") as running:
        yield running


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} | more


def remaining(reply: Reply) -> int | None:
    value = reply.get("Aero-Lease-Remaining")
    return None if value is None else int(value)


# Every route


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ROUTES)
def test_every_route(daemon: Daemon, path: str, method: str) -> None:
    """A lease opens every route of its image, and says for how long it is good; without one all are 401."""
    shut = daemon.ask(path, method)
    assert (shut.status, shut["WWW-Authenticate"]) == (401, "Bearer")
    assert "no-store" in shut["Cache-Control"]
    opened = daemon.ask(path, method, bearer(lease(IMAGES)))
    assert opened.status == 200
    assert 590 <= (remaining(opened) or 0) <= 600


@pytest.mark.parametrize("path", [*ROUTES, "/v1/images/nosuch", "/v1/images/gone"])
def test_preflights(daemon: Daemon, path: str) -> None:
    """A preflight asks for no lease."""
    assert daemon.ask(path, "OPTIONS", {"Origin": "https://app.test"}).status == 204


# Carriers

CARRIED = {
    "bearer": lambda token: ("", {"Authorization": f"Bearer {token}"}),
    "bearer in lower case": lambda token: ("", {"Authorization": f"bearer {token}"}),
    "query": lambda token: (f"?lease={token}", {}),
    "query among others": lambda token: (f"?a=1&lease={token}&lease=x", {}),
    "query, escaped": lambda token: (f"?lease={token.replace('.', '%2E')}", {}),
    "query before a range": lambda token: (f"?lease={token}&0-99", {}),
    "cookie": lambda token: ("", {"Cookie": f"aero-lease={token}"}),
    "secure cookie": lambda token: ("", {"Cookie": f"session=1; __Secure-aero-lease={token}; b=2"}),
}


@pytest.mark.parametrize("kid", ["hs", "ed"])
@pytest.mark.parametrize("carrier", CARRIED)
def test_carriers(daemon: Daemon, carrier: str, kid: str) -> None:
    """Each carrier opens the image, again and again on one connection, with the same tag as the others."""
    query, fields = CARRIED[carrier](lease("secret", kid))
    with daemon.dial() as conn:
        replies = [conn.ask("GET", IMAGE + query, fields | {"Range": f"bytes={n}-{n + 9}"}) for n in range(4)]
    assert [reply.status for reply in replies] == [206] * 4
    assert [reply.body for reply in replies] == [DISK[n : n + 10] for n in range(4)]
    assert {remaining(reply) is None for reply in replies} == {False}


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("?LEASE={}", {}),
        ("?x=1;lease={}", {}),
        ("?lease=", {}),
        ("", {"Authorization": "Basic {}"}),
        ("", {"Authorization": "Bearer"}),
        ("", {"Authorization": "{}"}),
        ("", {"Cookie": "xaero-lease={}"}),
        ("", {"Cookie": "Aero-Lease={}"}),
        ("", {"X-Original-URI": "/?lease={}"}),
    ],
)
def test_nothing_is_presented(daemon: Daemon, query: str, fields: dict[str, str]) -> None:
    """Another scheme, another name and an empty value present nothing."""
    token = lease()
    fields = {name: value.format(token) for name, value in fields.items()}
    reply = daemon.ask(IMAGE + query.format(token), fields=fields)
    assert (reply.status, reply["WWW-Authenticate"]) == (401, "Bearer")


def test_first_good_carrier_wins(daemon: Daemon) -> None:
    """The first token that is good for the image wins, whatever stands before it."""
    cookie = {"Cookie": f"aero-lease={lease(jti='by-cookie')}"}
    for before in ("junk", lease("other"), lease(exp=now() - 100, iat=now() - 200)):
        reply, line = daemon.traced(f"{IMAGE}?lease={before}", fields=cookie)
        assert (reply.status, line["lease"]) == (200, "by-cookie")
    reply, line = daemon.traced(f"{IMAGE}?lease={lease(jti='by-query')}", fields=cookie | bearer("junk"))
    assert (reply.status, line["lease"]) == (200, "by-query")


def test_answer_of_the_first_valid_one(daemon: Daemon) -> None:
    """If none is good, the answer is that of the first valid one, else of the first."""
    other = {"Cookie": f"aero-lease={lease('open')}"}
    assert daemon.ask(f"{IMAGE}?lease=junk", fields=other).status == 403
    both = f"{IMAGE}?lease={lease(exp=now() - 100, iat=now() - 200)}"
    before = daemon.metrics()
    assert daemon.ask(both, fields={"Cookie": "aero-lease=junk"}).status == 401
    daemon.rises(before, 1, "aero_storage_leases_total", result="expired")


@pytest.mark.parametrize("path", [IMAGE, "/v1/images/open", "/v1/images/secret/meta"])
def test_two_authorization_fields(daemon: Daemon, path: str) -> None:
    """Two `Authorization` fields are a 400, even if both are good."""
    good = ("Authorization", f"Bearer {lease()}")
    assert daemon.ask(path, fields=(good, good)).status == 400


@pytest.mark.parametrize("place", [0, 1])
def test_two_cookie_lines(daemon: Daemon, place: int) -> None:
    """A lease is found in either of two `Cookie` lines, as a proxy of HTTP/2 may send them."""
    lines = [("Cookie", "theme=dark")]
    lines.insert(place, ("Cookie", f"aero-lease={lease()}"))
    assert daemon.ask(IMAGE, fields=tuple(lines)).status == 200


# Words

REFUSED = {
    "missing": (401, lambda: None),
    "malformed": (401, lambda: "junk"),
    "unknown_key": (
        401,
        lambda: token_of(kid="hs", header={"alg": "HS256", "kid": "nobody", "typ": "aero-lease+jwt"}),
    ),
    "bad_signature": (401, lambda: lease()[:-4] + "AAAA"),
    "too_long": (401, lambda: lease(exp=now() + 90_000)),
    "wrong_audience": (401, lambda: lease(aud="other")),
    "revoked": (401, lambda: lease(jti=REVOKED)),
    "expired": (401, lambda: lease(iat=now() - 100, exp=now() - 40)),
    "not_yet": (401, lambda: lease(nbf=now() + 300)),
    "wrong_scope": (403, lambda: lease(scope="disk:write")),
    "wrong_image": (403, lambda: lease("open")),
    "wrong_version": (403, lambda: lease(ver="v-0")),
}
CHALLENGES = {401: 'Bearer error="invalid_token"', 403: 'Bearer error="insufficient_scope"'}


@pytest.fixture(scope="module")
def strict(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """One that has an audience."""
    with leased(home("strict"), "--lease-audience", "here", "--lease-failures-per-sec", "0") as running:
        yield running


@pytest.mark.parametrize("origin", [None, "https://app.test"])
@pytest.mark.parametrize("word", REFUSED)
def test_words(daemon: Daemon, strict: Daemon, word: str, origin: str | None) -> None:
    """Each refused lease is a 401 or 403 with its challenge, counted under its word, and readable across origins."""
    server = strict if word == "wrong_audience" else daemon
    status, make = REFUSED[word]
    token = make()
    fields = {} if token is None else bearer(token)
    fields |= {} if origin is None else {"Origin": origin}
    before = server.metrics()
    for path in (IMAGE, f"{IMAGE}/meta"):
        reply, line = server.traced(path, fields=fields)
        assert reply.status == status
        assert reply["WWW-Authenticate"] == ("Bearer" if word == "missing" else CHALLENGES[status])
        assert "no-store" in reply["Cache-Control"]
        assert remaining(reply) is None
        assert reply["Access-Control-Allow-Origin"] == "*"
        assert "WWW-Authenticate" in reply["Access-Control-Expose-Headers"]
        assert (line["reason"], "lease" in line) == ("lease", token is not None)
    server.rises(before, 2, "aero_storage_leases_total", result=word)


@pytest.mark.parametrize("word", REFUSED)
def test_unknown_ids_are_answered_as_private_ones(daemon: Daemon, strict: Daemon, word: str) -> None:
    """An id that the catalog does not know gets the answer of a private image, header by header."""
    server = strict if word == "wrong_audience" else daemon
    token = REFUSED[word][1]() if word != "wrong_version" else lease("open")
    fields = {"X-Request-Id": "same"} | ({} if token is None else bearer(token))
    for path in ("/v1/images/{}", "/v1/images/{}/data", "/v1/images/{}/meta", "/v1/images/{}/chunked/manifest"):
        known, unknown = (server.ask(path.format(one), fields=fields) for one in ("secret", "nosuch"))
        assert unknown.status == known.status
        assert unknown.body == known.body
        assert {n: unknown.every(n) for n in unknown.names - {"date"}} == {
            n: known.every(n) for n in known.names - {"date"}
        }


@pytest.mark.parametrize(
    "path",
    [
        "/v1/images/gone",
        "/v1/images/nosuch",
        "/v1/images/nosuch/meta",
        "/v1/images/secret/versions/v-0",
        "/v1/images/chunky/chunked/v9/manifest",
        "/v1/images/chunky/chunked/v1/chunks/00000009.bin",
    ],
)
def test_missing_things(daemon: Daemon, path: str) -> None:
    """What a lease opens and does not exist is a 404, which has the time that is left."""
    before = daemon.metrics()
    reply = daemon.ask(path, fields=bearer(lease(IMAGES)))
    assert reply.status == 404
    assert remaining(reply) is not None
    daemon.rises(before, 1, "aero_storage_leases_total", result="ok")


def varies(reply: Reply) -> bool:
    names = {name.strip() for value in reply.every("Vary") for name in value.split(",")}
    return {"Authorization", "Cookie"} <= names


@pytest.mark.parametrize("origin", [(), ("--cors-origin", "https://app.test")])
def test_caches_tell_requests_apart(home: Callable[[str], Path], origin: tuple[str, ...]) -> None:
    """Each answer that hangs on a lease says so to caches, in one `Vary`; those of public images do not."""
    with leased(home("lease-vary"), *origin) as daemon:
        for path in (IMAGE, f"{IMAGE}/meta", f"{IMAGE}/lease", "/v1/images/nosuch", f"{IMAGE}/chunked/manifest"):
            for fields in ({}, bearer(lease("open"))):
                reply = daemon.ask(path, fields=fields)
                assert (reply.status in {401, 403}, varies(reply), len(reply.every("Vary"))) == (True, True, 1)
        for path in (IMAGE, f"{IMAGE}/meta", f"{IMAGE}/lease", "/v1/images"):
            assert varies(daemon.ask(path, fields=bearer(lease()))), path
        for path in ("/v1/images", "/v1/images/open/lease"):
            assert varies(daemon.ask(path)), path
        for path in ("/v1/images/open", "/v1/images/open/meta"):
            assert not varies(daemon.ask(path)), path


def test_revoked_for_one_image(daemon: Daemon) -> None:
    """A lease that is revoked for one image opens the others."""
    token = bearer(lease(["secret", "other"]))
    assert daemon.ask("/v1/images/other", fields=token).status == 401
    assert daemon.ask(IMAGE, fields=token).status == 200


def test_time_in_a_url(daemon: Daemon) -> None:
    """Once `uexp` has passed, a lease is none in a URL, and goes on as a cookie."""
    token = lease(uexp=now() - 60)
    assert daemon.ask(f"{IMAGE}?lease={token}").status == 401
    assert daemon.ask(IMAGE, fields={"Cookie": f"aero-lease={token}"}).status == 200


def test_leeway(daemon: Daemon) -> None:
    """Times have a leeway of half a minute; the time that is left has none, and is never negative."""
    late = daemon.ask(IMAGE, fields=bearer(lease(iat=now() - 100, exp=now() - 2)))
    assert (late.status, remaining(late)) == (200, 0)
    assert daemon.ask(IMAGE, fields=bearer(lease(iat=now() + 10))).status == 200


# Every status that a lease opened


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"Range": "bytes=0-9"}, 206),
        ({"If-None-Match": "*"}, 304),
        ({"If-Match": '"x"'}, 412),
        ({"Range": "bytes=900000-"}, 416),
        ({"Range": "bytes=" + "0-0," * 1001 + "1-1"}, 413),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_status(daemon: Daemon, fields: dict[str, str], status: int, method: str) -> None:
    """A response that a lease opened says how long that is good, whatever its status; browsers may read it."""
    reply = daemon.ask(IMAGE, method, fields | bearer(lease(), Origin="https://app.test"))
    assert reply.status == status
    assert 590 <= (remaining(reply) or 0) <= 600
    assert "Aero-Lease-Remaining" in reply["Access-Control-Expose-Headers"].split(", ")


def test_conditions_are_not_looked_at_before_the_lease(daemon: Daemon) -> None:
    """A conditional request without a lease is a 401, not a 304 or a 412."""
    for fields in ({"If-None-Match": "*"}, {"If-Match": '"x"'}, {"Range": "bytes=900000-"}):
        assert daemon.ask(IMAGE, fields=fields).status == 401


# Public images


def test_public_images(daemon: Daemon) -> None:
    """For a public image no token is looked at, and nothing is counted or logged."""
    before = daemon.metrics()
    for token in ("junk", lease(), lease(jti=REVOKED)):
        reply, line = daemon.traced("/v1/images/open", fields=bearer(token))
        assert (reply.status, remaining(reply)) == (200, None)
        assert "lease" not in line
    after = daemon.metrics()
    for word in (*REFUSED, "ok"):
        assert after.get("aero_storage_leases_total", result=word) == before.get(
            "aero_storage_leases_total", result=word
        ), word


# Versions


def test_one_version_of_an_image(daemon: Daemon) -> None:
    """A lease for one version opens that version alone, under every URL."""
    good, bad = bearer(lease(ver=VERSION)), bearer(lease(ver="v-0"))
    for path in (IMAGE, f"{IMAGE}/meta", f"{IMAGE}/versions/{VERSION}"):
        assert daemon.ask(path, fields=good).status == 200, path
        assert daemon.ask(path, fields=bad).status == 403, path
    assert daemon.ask(f"{IMAGE}/versions/v-0", fields=bad).status == 404
    assert daemon.ask("/v1/images/nosuch", fields=bearer(lease("nosuch", ver="v-0"))).status == 404


@pytest.mark.parametrize("version", ["v1", VERSION])
@pytest.mark.parametrize("rest", ["chunks/00000000.bin", "v1/chunks/00000000.bin", "manifest", "v1/manifest.json"])
def test_one_version_of_chunks(daemon: Daemon, rest: str, version: str) -> None:
    """A chunk is opened by a lease for the version of its URL, of the catalog, or of the image; not for another."""
    path = f"/v1/images/chunky/chunked/{rest}"
    for _ in range(2):
        assert daemon.ask(path, fields=bearer(lease("chunky", ver=version))).status == 200
    assert daemon.ask(path, fields=bearer(lease("chunky", ver="v2"))).status == 403
    if rest.endswith(".bin"):
        assert daemon.ask(path, fields=bearer(lease("chunky", ver=version))).body == CHUNK


def test_one_version_of_virtual_chunks(daemon: Daemon) -> None:
    """Virtual chunks are opened by a lease for the version of the image they are cut from."""
    path = "/v1/images/sliced/chunked/chunks/00000001.bin"
    reply = daemon.ask(path, fields=bearer(lease("sliced", ver=SLICED_VERSION)))
    assert (reply.status, reply.body) == (200, DISK[65536 : 2 * 65536])
    assert daemon.ask(path, fields=bearer(lease("sliced", ver="v-0"))).status == 403


def test_another_token_for_the_version(daemon: Daemon) -> None:
    """Where the first lease is for another version, the next one counts."""
    cookie = {"Cookie": f"aero-lease={lease(jti='any-version')}"}
    reply, line = daemon.traced(f"{IMAGE}?lease={lease(ver='v-0')}", fields=cookie)
    assert (reply.status, line["lease"]) == (200, "any-version")


# The log


def test_log(daemon: Daemon) -> None:
    """The line names the lease, and its `sub` is the user, whatever the client says."""
    claimed = {"X-Aero-User-Id": "mallory"}
    for _ in range(2):
        _, line = daemon.traced(IMAGE, fields=bearer(lease(jti="j-1", sub="ada")) | claimed | {"Range": "bytes=0-9"})
        assert (line["lease"], line["user_id"], line["range"]) == ("j-1", "ada", "0-9")
    _, line = daemon.traced(IMAGE, fields=bearer(lease(jti="j-2", sub=...)) | claimed)
    assert (line["lease"], "user_id" in line) == ("j-2", False)
    _, line = daemon.traced(IMAGE, fields=bearer("junk") | claimed)
    assert (len(line["lease"]), line["user_id"]) == (8, "mallory")
    _, line = daemon.traced("/v1/images/open", fields=claimed)
    assert line["user_id"] == "mallory"


def test_tokens_are_nowhere(daemon: Daemon) -> None:
    """No token, good or bad, is in a log line, an error body or a metric."""
    tokens = [lease(sub="hygiene"), lease(jti=REVOKED, sub="hygiene"), lease("open", sub="hygiene")]
    asked = [
        (path + query, fields)
        for token in tokens
        for fields, query in ((bearer(token), ""), ({}, f"?lease={token}"), ({"Cookie": f"aero-lease={token}"}, ""))
        for path in (f"{IMAGE}/meta", "/v1/images/nosuch/meta", "/v1/images", f"{IMAGE}/lease")
    ]
    bodies = [daemon.traced(target, fields=fields)[0].body for target, fields in asked]
    said = daemon.log_text() + daemon.metrics().text + b"".join(bodies).decode()
    for token in tokens:
        for part in token.split("."):
            assert part not in said
