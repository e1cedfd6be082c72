"""Checks of the server itself: reachability, TLS, health, version, clock, keep-alive, metrics."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from aero_storage.chunks.verify.remote import brief
from aero_storage.doctor import advice
from aero_storage.doctor.check import Check, unanswered, wrong_status
from aero_storage.doctor.http_client import HttpClient, UnansweredError
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, SkippedError, failure, good, warning
from aero_storage.doctor.session import Session, parsed
from aero_storage.doctor.target import images_path
from aero_storage.http.dates import parse_http_date
from aero_storage.strict_json import show

_SKEW_SECONDS = 60
_DAY = 86400
_SOON_DAYS = 14
_OK, _NOT_FOUND = 200, 404


def _reachable(session: Session) -> Result:
    try:
        answer = session.listing()
    except UnansweredError as error:
        if isinstance(error.error, ssl.SSLError):
            return _bad_certificate(error)
        if isinstance(error.error, OSError):
            return failure(
                str(error),
                "no client gets anything",
                "start the daemon (twistd aero-storage); look at --listen-addr, a firewall, the URL's host and port",
            )
        return unanswered(error)
    return good(f"{session.client.target.url} answers with status {answer.status} in {answer.seconds * 1000:.0f} ms")


def _bad_certificate(error: UnansweredError) -> Result:
    return failure(
        str(error),
        "browsers refuse the connection, and no page can ask its user to go on all the same",
        "let the server send a certificate for this name that is in date, with its intermediates (in nginx: "
        "ssl_certificate fullchain.pem;); --insecure looks at all else meanwhile; SSL_CERT_FILE names your own CA",
    )


def _certificate(session: Session) -> Result:
    client = session.client
    if client.target.scheme == "http":
        return _plain(session)
    strict = HttpClient(client.target, client.timeout)
    try:
        expires = strict.expiry()
    except UnansweredError as error:
        return _bad_certificate(error) if isinstance(error.error, ssl.SSLError) else unanswered(error)
    finally:
        strict.close()
    days = (expires - session.wall()) / _DAY
    seen = f"the certificate is valid until {datetime.fromtimestamp(expires, UTC):%Y-%m-%d}"
    if days < _SOON_DAYS:
        return warning(
            f"{seen}, {days:.0f} days", "then browsers refuse the connection", "renew it; let a timer do so (certbot)"
        )
    return good(seen)


def _plain(session: Session) -> Result:
    if session.client.target.is_loopback:
        return good("plain HTTP to this machine itself, which browsers take for secure")
    return warning(
        "plain HTTP",
        "pages that came by https cannot read from it (mixed content), and anybody on the way can change the bytes",
        "serve it by https: a proxy with a certificate, or twistd aero-storage "
        "--endpoint ssl:443:privateKey=key.pem:certKey=cert.pem",
    )


def _health(session: Session) -> Result:
    answer = session.fetch("GET", "/healthz")
    return _status_page(answer) or good("status 200, ok")


def _readiness(session: Session) -> Result:
    answer = session.fetch("GET", "/readyz")
    if answer.status == 503:  # noqa: PLR2004
        return failure(
            "status 503: not ready",
            "balancers send nobody here; an image of the catalog is missing, or the catalog cannot be read",
            "aero-storage catalog check says which; the daemon's log too",
        )
    return _status_page(answer) or good("status 200, ok")


def _status_page(answer: Response) -> Result | None:
    """Return the fault of an answer that should be `{"status":"ok"}`, or None."""
    if answer.status == _OK and parsed(answer) == {"status": "ok"}:
        return None
    return _unpassed(answer) or failure(
        f"{answer.request}: status 200 with {_kind(answer)}, not the daemon's JSON",
        "something else answers for the daemon: a probe is told that all is well when it is not",
        advice.ROUTE,
    )


def _unpassed(answer: Response) -> Result | None:
    """Return the result for an operators' endpoint that is not reachable here; clients do not need it."""
    if answer.status in (401, 403, _NOT_FOUND):
        return warning(
            f"{answer.request}: status {answer.status}",
            "clients do without it; a balancer or a monitor that looks from here does not",
            "nothing, if that is meant; else in nginx: location = /healthz { proxy_pass http://127.0.0.1:8080; }",
        )
    return None if answer.status == _OK else wrong_status(answer, "200")


def _version(session: Session) -> Result:
    answer = session.fetch("GET", "/version")
    document = parsed(answer)
    if isinstance(document, dict) and isinstance(document.get("version"), str):
        return good(f"version {show(document['version'])}, commit {show(document.get('gitSha'))}")
    return _unpassed(answer) or warning(
        f"{answer.request}: status 200 with {_kind(answer)}, no version",
        "something else answers for the daemon, or it is another program",
        advice.ROUTE,
    )


def _kind(answer: Response) -> str:
    return brief(answer.get("Content-Type") or "no Content-Type")


def _date(session: Session) -> Result:
    answer, now = session.client.ask("GET", images_path()), session.wall()
    text = answer.get("Date")
    date = None if text is None else parse_http_date(text, now)
    if date is None:
        return warning(answer.show("Date"), "caches cannot tell how old an answer is", advice.KEEP_HEADERS)
    age = answer.get("Age") or ""
    seconds = date + (int(age) if age.isascii() and age.isdecimal() and len(age) < 10 else 0) - now  # noqa: PLR2004
    if abs(seconds) > _SKEW_SECONDS:
        return warning(
            f"the server's clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this one",
            "caches keep answers for too long or too short, and dates in If-Range and If-Modified-Since mislead",
            "set both clocks by NTP (timedatectl set-ntp true)",
        )
    return good(f"the clocks agree within {_SKEW_SECONDS} s")


def _http_version(session: Session) -> Result:
    answer = session.listing()
    if answer.http_version == 11:  # noqa: PLR2004 - as http.client writes HTTP/1.1
        return good("HTTP/1.1")
    return warning(
        "it answers as HTTP/1.0",
        "each read of a sector may need a connection of its own, and caches may not know ranges",
        "put a proxy of HTTP/1.1 or later in front; in nginx, towards the daemon: proxy_http_version 1.1;",
    )


def _keep_alive(session: Session) -> Result:
    path = session.path
    session.client.close()
    answers = [session.client.ask("GET", path, {"Range": f"bytes={at}-{at}"}) for at in (0, 0, 0)]
    if not all(answer.is_complete for answer in answers):
        raise SkippedError("the answers are longer than one byte: see range-one")
    reused = sum(answer.is_reused for answer in answers)
    if reused == len(answers) - 1:
        return good("three requests over one connection")
    return warning(
        f"{len(answers)} requests took {len(answers) - reused} connections; {answers[0].show('Connection')}",
        "each read of a sector waits for a new connection, and for TLS",
        "in nginx: keepalive_timeout 65s; keepalive_requests 1000; and no add_header Connection",
    )


def _metrics(session: Session) -> Result:
    answer = session.client.ask("GET", "/metrics", anonymous=True)
    if answer.status != _OK:
        return good(f"/metrics is closed to those without a token (status {answer.status})")
    if b"http_requests_total" not in answer.body:
        return good("/metrics is not the daemon's from here")
    if session.client.target.is_loopback:
        return good("/metrics is open, but this is a loopback address; see from outside too")
    return warning(
        "/metrics is open to all who can reach this address",
        "anybody reads the ids of images and how much is read of each, private ones too",
        "--metrics-auth-token-file FILE, --disable-metrics, or in nginx: location = /metrics { deny all; }",
    )


REACHABLE = Check("reachable", "Somebody answers", _reachable)

CHECKS = (
    Check("certificate", "The connection is one that browsers trust", _certificate),
    Check("healthz", "The daemon is alive", _health),
    Check("readyz", "The daemon is ready", _readiness),
    Check("version", "The daemon says its version", _version),
    Check("date", "The clock is right", _date),
    Check("http-version", "HTTP/1.1 at least", _http_version),
    Check("keep-alive", "Connections are kept alive", _keep_alive),
    Check("metrics", "Metrics are closed to the world", _metrics),
)
