"""What a lease opens and what it does not, as the doctor sees it; the lease itself is never shown."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing

import attrs
import pytest
from tests.doctor.fault_cases import page, put
from tests.doctor.faulty_proxy import Answer, FaultyProxy, ProxyFault, Request
from tests.doctor.leases import PRIVATE, lease_for

from aero_storage.doctor.checks import lease_answers
from aero_storage.doctor.http_client import HttpClient
from aero_storage.doctor.lease import forged, read_claims
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, Severity
from aero_storage.doctor.runner import DoctorReport
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import parse_target
from aero_storage.errors import OperatorError
from aero_storage.http.leases.carriers import Carrier, Presented

Look = Callable[..., DoctorReport]


def told(report: DoctorReport, check: str) -> Result:
    (found,) = [one.result for one in report.results if one.check == check]
    return found


def complaints(report: DoctorReport) -> set[str]:
    return {one.check for one in report.results if one.result.means}


def leases(report: DoctorReport) -> dict[str, Severity]:
    return {one.check: one.result.severity for one in report.results if one.check.startswith("lease-")}


def is_bare(request: Request) -> bool:
    """Whether a request has no credentials."""
    return not request.headers.keys() & {"authorization", "cookie"} and "lease=" not in request.target


def is_private(request: Request) -> bool:
    return request.target.split("?")[0] == f"/v1/images/{PRIVATE}"


def on(condition: Callable[[Request], bool], change: Callable[[Answer], Answer]) -> ProxyFault:
    return ProxyFault(after=lambda request, answer: change(answer) if condition(request) else answer)


def status(number: int) -> Callable[[Answer], Answer]:
    return lambda answer: attrs.evolve(answer, status=number)


def test_sound_daemon(leased: FaultyProxy, examine_proxy: Look) -> None:
    """With a lease, every check is made of the private image that it opens, and none complains."""
    report = examine_proxy(leased, lease=lease_for())
    assert complaints(report) == set()
    assert set(leases(report).values()) == {Severity.PASS}
    asked = {re.split("[/?]", request.target)[3] for request in leased.asked if request.target.count("/") > 2}
    assert asked == {PRIVATE, "open", "aero-storage-doctor-looks-for-what-is-not-there"}


def test_without_a_lease(leased: FaultyProxy, examine_proxy: Look) -> None:
    """Without a lease the public image is looked at, and what needs one is left out, with the way to get there."""
    report = examine_proxy(leased)
    assert complaints(report) == set()
    assert set(leases(report).values()) == {Severity.SKIPPED}
    assert "--lease-file" in told(report, "lease-carriers").seen
    assert told(report, "private-images").severity is Severity.PASS


def test_private_images_that_are_open(unleased: FaultyProxy, examine_proxy: Look) -> None:
    """A daemon that asks for no leases lets everybody read private images: a warning names them, and the setting."""
    found = told(examine_proxy(unleased), "private-images")
    assert (found.severity, f"read without a lease: {PRIVATE}" in found.seen) == (Severity.WARNING, True)
    assert "--lease-keys-file" in found.remedy


def test_daemon_without_leases(unleased: FaultyProxy, examine_proxy: Look) -> None:
    """Who comes with a lease to a daemon that asks for none is told that all may read."""
    report = examine_proxy(unleased, lease=lease_for())
    assert {"private-images", "lease-required", "lease-wrong-image", "lease-forged", "lease-remaining"} <= complaints(
        report
    )
    assert "--lease-keys-file" in told(report, "lease-required").remedy


def test_public_image(leased: FaultyProxy, examine_proxy: Look) -> None:
    """For a public image no lease is asked for, so that nothing about leases can be seen there."""
    report = examine_proxy(leased, image="open", lease=lease_for("open"))
    assert complaints(report) == set()
    assert "public" in told(report, "lease-carriers").seen


@pytest.mark.parametrize(
    ("changed", "hint"),
    [
        ({"iat": 1, "exp": 2}, "lease check"),
        ({"img": "another"}, "lease check"),
        ({"scope": ""}, "lease check"),
    ],
)
def test_lease_that_opens_nothing(
    changed: dict[str, object], hint: str, leased: FaultyProxy, examine_proxy: Look
) -> None:
    """A lease that is not good is a failure that names the command which says why."""
    found = told(examine_proxy(leased, lease=lease_for(PRIVATE, **changed)), "lease-carriers")
    assert (found.severity, hint in found.remedy) == (Severity.FAILURE, True)


def test_lease_that_may_not_travel_in_a_url(leased: FaultyProxy, examine_proxy: Look) -> None:
    """A lease whose time in URLs is over is not sent in one, which is no fault."""
    report = examine_proxy(leased, lease=lease_for(uexp=int(time.time()) - 50))
    assert told(report, "lease-carriers").seen == "by bearer, cookie the same bytes, with the same tag"
    assert complaints(report) == set()


def without_query(request: Request) -> Request:
    return attrs.evolve(request, target=request.target.split("?")[0])


def of_anybody(request: Request) -> Request:
    """A proxy that shows a lease of its own for all who ask."""
    return attrs.evolve(request, headers={**request.headers, "authorization": f"Bearer {lease_for()}"})


def caching() -> Callable[[Request, Answer], Answer]:
    """A cache that keeps what it should not, by the path alone."""
    kept: dict[tuple[str, str], Answer] = {}

    def change(request: Request, answer: Answer) -> Answer:
        if request.target == f"/v1/images/{PRIVATE}" and "range" in request.headers and request.method == "GET":
            return kept.setdefault((request.target, request.headers["range"]), answer)
        return answer

    return change


def show_request(request: Request, answer: Answer) -> Answer:
    shown = f"{request.target} {request.headers}".encode()
    return answer.filled(shown) if answer.status in (401, 403) and request.method == "GET" else answer


FAULTS: dict[str, tuple[ProxyFault, str, str]] = {
    "drops cookies": (ProxyFault(lambda r: r.without("cookie")), "lease-carriers", "Cookie"),
    "drops queries": (ProxyFault(without_query), "lease-carriers", "query"),
    "shows a lease for all": (ProxyFault(of_anybody), "lease-required", "Authorization of its own"),
    "keeps private bytes": (ProxyFault(after=caching()), "lease-required", "empty the proxy's cache"),
    "other bytes by cookie": (
        on(lambda r: "cookie" in r.headers and is_private(r), lambda a: a.put(ETag='"other"')),
        "lease-carriers",
        "cache",
    ),
    "refusals become 404": (on(lambda r: is_private(r) and is_bare(r), status(404)), "lease-required", "keys-file"),
    "no challenge": (
        ProxyFault(after=lambda _, a: a.put(WWW_Authenticate=None)),
        "lease-required",
        "proxy_hide_header",
    ),
    "opens other images": (
        on(lambda r: "looks-for-what" in r.target and not is_bare(r), status(200)),
        "lease-wrong-image",
        "--lease-keys-file",
    ),
    "any signature will do": (
        on(lambda r: is_private(r) and not is_bare(r), lambda a: status(206)(a) if a.status == 401 else a),
        "lease-forged",
        "--lease-keys-file",
    ),
    "drops what is left": (
        ProxyFault(after=lambda _, a: a.put(Aero_Lease_Remaining=None)),
        "lease-remaining",
        "proxy_hide_header",
    ),
    "another clock": (
        ProxyFault(after=lambda _, a: a.put(Aero_Lease_Remaining="5") if a.get("Aero-Lease-Remaining") else a),
        "lease-remaining",
        "clock",
    ),
    "no lease route": (on(lambda r: "/lease" in r.target, page(404)), "lease-route", "/v1/"),
    "keeps the lease route": (
        on(lambda r: "/lease" in r.target, lambda a: a.put(Cache_Control="max-age=60") if a.status == 204 else a),
        "lease-route",
        "proxy_hide_header",
    ),
    "drops Set-Cookie": (ProxyFault(after=lambda _, a: a.put(Set_Cookie=None)), "lease-route", "proxy_hide_header"),
    "cookies for scripts": (
        ProxyFault(
            after=lambda _, a: a.put(Set_Cookie=a.get("Set-Cookie").replace("HttpOnly; ", "") or None),
        ),
        "lease-route",
        "proxy_hide_header",
    ),
    "keeps refusals": (
        on(is_bare, lambda a: a.put(Cache_Control="max-age=60") if a.status == 401 else a),
        "lease-caching",
        "expires",
    ),
    "drops Vary": (ProxyFault(after=lambda _, a: a.put(Vary=None)), "lease-caching", "proxy_hide_header"),
    "refusals without CORS": (
        ProxyFault(after=lambda _, a: a.put(Access_Control_Allow_Origin=None) if a.status == 401 else a),
        "lease-cors",
        "add_header",
    ),
    "exposes no challenge": (
        ProxyFault(after=lambda _, a: a.put(Access_Control_Expose_Headers="ETag") if a.status == 401 else a),
        "lease-cors",
        "proxy_hide_header",
    ),
    "preflights without Authorization": (
        on(lambda r: r.method == "OPTIONS", put(Access_Control_Allow_Headers="Range, If-Range")),
        "lease-cors",
        "OPTIONS",
    ),
    "the list for nobody": (
        on(lambda r: r.target == "/v1/images", lambda a: a.filled(b"[]")),
        "lease-list",
        "Authorization",
    ),
    "lists without Vary": (on(lambda r: r.target == "/v1/images", put(Vary=None)), "lease-list", "proxy_hide_header"),
    "refusals show the request": (ProxyFault(after=show_request), "lease-hygiene", "pages of errors"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_damage_is_found(name: str, leased: FaultyProxy, examine_proxy: Look) -> None:
    """The check that a fault concerns complains, and says how to mend it; no report shows the lease."""
    leased.fault, check, remedy = FAULTS[name]
    token = lease_for()
    report = examine_proxy(leased, lease=token)
    assert (told(report, check).means != "", remedy in told(report, check).remedy) == (True, True)
    assert token not in str(report)


def test_list_that_shows_private_ids(leased: FaultyProxy, examine_proxy: Look) -> None:
    """A list of all images for everybody is a fault for who has a lease, and a warning for who has none."""
    entry = {"id": PRIVATE, "size_bytes": 1048576, "etag": '"x"', "public": False}
    leased.fault = on(lambda r: r.target == "/v1/images", lambda a: a.filled(json.dumps([entry]).encode()))
    assert (
        told(examine_proxy(leased, image="open"), "private-images").seen == f"in the list without a lease: {PRIVATE}"
    )
    assert told(examine_proxy(leased, lease=lease_for()), "lease-list").severity is Severity.FAILURE


@pytest.mark.parametrize("text", ["", "abc", "a.b.c", lease_for() + "=", lease_for()[:-1], lease_for(scope=...)])
def test_no_lease(text: str) -> None:
    """What cannot be a lease is refused before anybody is asked, and not repeated."""
    with pytest.raises(OperatorError) as error:
        read_claims(text)
    assert len(text) < 9 or text not in str(error.value)


def test_forged() -> None:
    """A forged lease differs in its signature alone, and is of the same form."""
    for kid in range(50):
        token = lease_for(jti=f"lease-{kid}")
        other = forged(Presented(Carrier.COOKIE, token))
        assert other.carrier is Carrier.COOKIE
        assert other.token != token
        assert other.token.rpartition(".")[0] == token.rpartition(".")[0]
        assert read_claims(other.token) == read_claims(token)


@attrs.define(eq=False)
class CannedSession(Session):
    """A session over TLS in which the lease opens everything, and the lease route sets this cookie."""

    cookie: str = ""

    def fetch_with(
        self,
        lease: Presented | None,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        most: int = 0,
    ) -> Response:
        assert (lease, headers or {}, most >= 0) == (self.client.lease, headers or {}, True)
        return Response(
            request=f"{method} {path}",
            status=204 if path.partition("?")[0].endswith("/lease") else 206,
            fields=(("cache-control", "no-store"), ("set-cookie", self.cookie)),
            body=b"",
            is_complete=True,
            http_version=11,
            is_reused=False,
            first_byte=0.0,
            seconds=0.0,
        )


@pytest.mark.parametrize(
    ("cookie", "severity"),
    [
        ("__Secure-aero-lease=<lease>; Path=/v1/images/secret; HttpOnly; Secure; SameSite=Lax", Severity.PASS),
        ("aero-lease=<lease>; Path=/v1/images/secret; HttpOnly; SameSite=Lax", Severity.WARNING),
        ("__Secure-aero-lease=<lease>; Path=/v1/images/secret; HttpOnly", Severity.WARNING),
        ("__Secure-aero-lease=<lease>; Path=/v1/images/secret; Secure", Severity.FAILURE),
        ("aero-lease=another; HttpOnly; Secure", Severity.FAILURE),
    ],
)
def test_cookie_over_tls(cookie: str, severity: Severity) -> None:
    """Over TLS the cookie has to be a secure one; a proxy that hides TLS from the daemon is told how to say so."""
    shown = Presented(Carrier.BEARER, lease_for())
    with closing(HttpClient(parse_target("https://images.example.com")[0], lease=shown)) as client:
        session = CannedSession(client, PRIVATE, claims=read_claims(shown.token), cookie=cookie)
        (check,) = [one for one in lease_answers.CHECKS if one.name == "lease-route"]
        result = check.run(session).result
    assert result.severity is severity
    assert ("--trusted-proxy" in result.remedy) is (severity is Severity.WARNING)
