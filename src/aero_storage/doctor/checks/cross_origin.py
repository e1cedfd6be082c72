"""Checks of CORS and CORP (WHATWG Fetch): access by pages of other origins."""

from __future__ import annotations

from aero_storage.chunks.verify.remote import brief
from aero_storage.doctor import advice
from aero_storage.doctor.check import Check
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, SkippedError, failure, good, warning
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import images_path
from aero_storage.http.cors import DATA_EXPOSED

_ALLOW = "Access-Control-Allow-Origin"
_EXPOSE = "Access-Control-Expose-Headers"
_CREDENTIALS = "Access-Control-Allow-Credentials"
_MAX_AGE = "Access-Control-Max-Age"
_CORP = "Cross-Origin-Resource-Policy"
_NEEDED = ("Content-Range", "ETag", "Accept-Ranges", "Content-Length")
# v86 sends X-Accept-Encoding; resumed reads If-Range.
_WANTED = ("range", "if-range", "if-none-match", "x-accept-encoding")
_ABSENT = "aero-storage-doctor-looks-for-what-is-not-there"
_OTHER_ORIGIN = "https://stranger.doctor.example"
_SHORTEST_MEMORY = 60
_SUCCESSES = range(200, 300)


def _cors_answer(session: Session) -> Response:
    return session.range("bytes=0-0", {"Origin": session.origin})


def _allowed(session: Session) -> Response:
    """Return the same answer if the origin may read it. Raises SkippedError."""
    answer = _cors_answer(session)
    if not _may_read(answer, session.origin):
        raise SkippedError(f"{brief(session.origin)} may not read: see cors")
    return answer


def _may_read(answer: Response, origin: str) -> bool:
    return answer.all(_ALLOW) in (("*",), (origin,))


def _cors(session: Session) -> Result:
    answer, origin = _cors_answer(session), brief(session.origin)
    values = answer.all(_ALLOW)
    if len(values) > 1 or any("," in value for value in values):
        return failure(
            f"{answer.request}: {answer.show(_ALLOW)}",
            "browsers refuse it: one value, once, is all they take",
            advice.ONE_VOICE,
        )
    if _may_read(answer, session.origin):
        return good(f"pages of {origin} may read ({answer.show(_ALLOW)})")
    if session.given_origin is None and "origin" in answer.words("Vary"):
        raise SkippedError("the server answers to certain origins only; name that of your pages with --origin")
    return failure(
        f"{answer.request}: {answer.show(_ALLOW)}",
        f"no page of {origin} can read the image: fetch fails, and tells no reason",
        f"twistd aero-storage --cors-origin {origin} (or none: all may); if the daemon sends it already, "
        f"{advice.KEEP_HEADERS}",
    )


def _exposed(session: Session) -> Result:
    answer = _allowed(session)
    names, has_credentials = answer.words(_EXPOSE), answer.get(_CREDENTIALS) is not None
    if "*" in names and not has_credentials:
        return good("all headers may be read")
    missing = [name for name in _NEEDED if name.lower() not in names]
    if missing:
        return failure(
            f"{answer.request}: {answer.show(_EXPOSE)}, without {', '.join(missing)}",
            "scripts see those headers as missing: they know neither size nor tag, and v86 takes it for no range",
            advice.KEEP_HEADERS,
        )
    rest = [name for name in DATA_EXPOSED.split(", ") if name.lower() not in names]
    if rest:
        return warning(
            f"{answer.show(_EXPOSE)}, without {', '.join(rest)}", "scripts cannot read those", advice.KEEP_HEADERS
        )
    return good(f"{', '.join(_NEEDED)} and more may be read")


def _preflight(session: Session) -> Result:
    answer = session.fetch(
        "OPTIONS",
        session.path,
        {
            "Origin": session.origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": ", ".join(_WANTED),
        },
    )
    request = "the preflight (OPTIONS)"
    if answer.status not in _SUCCESSES:
        return failure(
            f"{request}: status {answer.status}, not 204",
            "every read with If-Range, and v86's, is refused by the browser before it is sent",
            "let the proxy pass OPTIONS on, and ask for no credentials (in nginx: limit_except GET OPTIONS { … })",
        )
    if not _may_read(answer, session.origin):
        if session.given_origin is None and "origin" in answer.words("Vary"):
            raise SkippedError("the server answers to certain origins only; name that of your pages with --origin")
        return failure(
            f"{request}: {answer.show(_ALLOW)}",
            "every read with If-Range, and v86's, is refused by the browser before it is sent",
            advice.ONE_VOICE
            if len(answer.all(_ALLOW)) > 1
            else f"let the proxy pass OPTIONS on to the daemon; {advice.KEEP_HEADERS}",
        )
    return _permissions(answer, request)


def _permissions(answer: Response, request: str) -> Result:
    names = answer.words("Access-Control-Allow-Headers")
    missing = [] if names == ("*",) else [name for name in _WANTED if name not in names]
    if missing:
        return failure(
            f"{request}: {answer.show('Access-Control-Allow-Headers')}, without {', '.join(missing)}",
            "reads with those headers are refused by the browser before they are sent",
            f"let the proxy pass OPTIONS on to the daemon; {advice.KEEP_HEADERS}",
        )
    age = answer.get(_MAX_AGE) or ""
    if not (age.isascii() and age.isdecimal() and len(age) < 10 and int(age) >= _SHORTEST_MEMORY):  # noqa: PLR2004
        return warning(
            f"{request}: {answer.show(_MAX_AGE)}",
            "browsers ask again every few seconds: two requests for each read",
            f"--cors-preflight-max-age-secs 86400; {advice.KEEP_HEADERS}",
        )
    return good(f"{', '.join(_WANTED)} may be sent; remembered for {age} s")


def _credentials(session: Session) -> Result:
    answer = _allowed(session)
    value, origin = answer.get(_CREDENTIALS), answer.get(_ALLOW)
    if value is not None and (origin == "*" or value != "true"):
        return failure(
            f"{answer.show(_CREDENTIALS)} with {answer.show(_ALLOW)}",
            "browsers refuse both together once a page sends credentials",
            f"--cors-origin with the origins of your pages, or no {_CREDENTIALS}: {advice.ONE_VOICE}",
        )
    if origin != "*" and not {"origin", "*"} & set(answer.words("Vary")):
        return failure(
            f"{answer.show(_ALLOW)} with {answer.show('Vary')}",
            "a cache gives the answer for one origin to pages of another, which their browsers refuse",
            f"Vary: Origin has to go with it: {advice.KEEP_HEADERS}",
        )
    other_origin = session.range("bytes=0-0", {"Origin": _OTHER_ORIGIN})
    if other_origin.get(_ALLOW) == _OTHER_ORIGIN and other_origin.get(_CREDENTIALS) == "true":
        return warning(
            f"any origin is allowed, with credentials: {other_origin.show(_ALLOW)}",
            "any page reads with the cookies of its visitors",
            f"name origins (--cors-origin), and let the proxy not repeat $http_origin: {advice.ONE_VOICE}",
        )
    return good("consistent" if value else "none are asked for, and all may read")


def _errors(session: Session) -> Result:
    _allowed(session)
    origin = {"Origin": session.origin}
    for answer in (
        session.range(f"bytes={session.size}-", origin),
        session.fetch("GET", images_path(_ABSENT), origin),
    ):
        if answer.status >= 400 and not _may_read(answer, session.origin):  # noqa: PLR2004
            return failure(
                f"{answer.request}: status {answer.status} with {answer.show(_ALLOW)}",
                "a page cannot tell an error from a broken network, and does not learn the new size from a 416",
                f"in nginx: add_header … always, or rather none; no error_page; {advice.KEEP_HEADERS}",
            )
    return good("404 and 416 may be read too")


def _resource_policy(session: Session) -> Result:
    answer = session.head()
    values = answer.all(_CORP)
    if len(values) > 1 or any(value not in ("same-origin", "same-site", "cross-origin") for value in values):
        return failure(f"{answer.request}: {answer.show(_CORP)}", "browsers take it for none", advice.ONE_VOICE)
    if not values:
        return failure(
            f"{answer.request}: {answer.show(_CORP)}",
            "pages under COEP: require-corp (which v86 with threads needs) cannot load it without CORS",
            f"the daemon sends it (--cross-origin-resource-policy): {advice.KEEP_HEADERS}",
        )
    reach = {
        "same-origin": "without CORS only pages of its own origin load it",
        "same-site": "without CORS only pages of its own site load it",
        "cross-origin": "pages of all origins load it",
    }
    return good(f"{values[0]}: {reach[values[0]]}; with CORS all do that CORS allows")


CHECKS = (
    Check("cors", "Pages may read", _cors),
    Check("cors-exposed", "Scripts may read the headers", _exposed),
    Check("cors-preflight", "Range and If-Range may be sent", _preflight),
    Check("cors-credentials", "CORS is consistent", _credentials),
    Check("cors-errors", "Pages may read errors", _errors),
    Check("corp", "Pages under COEP may load it", _resource_policy),
)
