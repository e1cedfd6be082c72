"""Every fault of a proxy that the doctor must find: what the proxy does, what is found, and words of the advice."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Callable

import attrs
from tests.doctor.faulty_proxy import Answer, ProxyFault, Request

OTHER_TAG = rb'"etag":"\\"x\\""'
HTML = b"<!doctype html><title>Welcome</title>"


@attrs.frozen
class FaultCase:
    """A fault; `found` are all checks that complain, the first of which says `remedy`."""

    fault: ProxyFault
    found: tuple[str, ...]
    remedy: str
    is_failure: bool = True


def failure(found: str, remedy: str, **hooks: Callable[..., object]) -> FaultCase:
    return FaultCase(ProxyFault(**hooks), tuple(found.split()), remedy)  # type: ignore[arg-type]


def warning(found: str, remedy: str, **hooks: Callable[..., object]) -> FaultCase:
    return attrs.evolve(failure(found, remedy, **hooks), is_failure=False)


def drop(*names: str) -> Callable[[Request], Request]:
    return lambda request: request.without(*names)


def everywhere(change: Callable[[Answer], Answer]) -> Callable[[Request, Answer], Answer]:
    return lambda _request, answer: change(answer)


def on_image(change: Callable[[Answer], Answer], *statuses: int) -> Callable[[Request, Answer], Answer]:
    """Change the answers to requests for the image, those of the given statuses, or of all."""
    return lambda request, answer: (
        change(answer) if request.is_image and (not statuses or answer.status in statuses) else answer
    )


def on_path(part: str, change: Callable[[Answer], Answer]) -> Callable[[Request, Answer], Answer]:
    return lambda request, answer: change(answer) if part in request.target else answer


def on_method(method: str, change: Callable[[Answer], Answer]) -> Callable[[Request, Answer], Answer]:
    return lambda request, answer: change(answer) if request.method == method else answer


def put(**headers: str | None) -> Callable[[Answer], Answer]:
    return lambda answer: answer.put(**headers)


def page(status: int = 200) -> Callable[[Answer], Answer]:
    """The proxy's own page."""
    headers = [("Content-Type", "text/html"), ("Content-Length", str(len(HTML)))]
    return lambda _answer: Answer(status, headers, HTML)


def weaken(answer: Answer) -> Answer:
    return answer.put(ETag=f"W/{answer.get('ETag')}") if answer.get("ETag") else answer


def compress(request: Request, answer: Answer) -> Answer:
    """What nginx does with gzip on and gzip_types *."""
    if "gzip" not in request.headers.get("accept-encoding", "") or answer.status != 200:
        return answer
    answer = answer.filled(gzip.compress(answer.body, 1)) if answer.body else answer.put(Content_Length=None)
    return weaken(answer).put(Content_Encoding="gzip", Vary="Accept-Encoding")


def retag(request: Request, answer: Answer) -> Answer:
    """What Apache does with mod_deflate."""
    if "gzip" in request.headers.get("accept-encoding", "") and answer.get("ETag"):
        return answer.put(ETag=answer.get("ETag")[:-1] + '-gzip"')
    return answer


def shift(answer: Answer) -> Answer:
    return attrs.evolve(answer, body=answer.body[1:] + answer.body[:1])


def misplace(by: int) -> Callable[[Answer], Answer]:
    def change(answer: Answer) -> Answer:
        first, _, rest = answer.get("Content-Range").removeprefix("bytes ").partition("-")
        return answer.put(Content_Range=f"bytes {int(first) + by}-{rest}")

    return change


def shift_odd(request: Request, answer: Answer) -> Answer:
    """Wrong bytes only where a range begins at an odd place."""
    first = request.headers.get("range", "").removeprefix("bytes=").partition("-")[0]
    return shift(answer) if first.isdecimal() and int(first) % 2 else answer


def tags_of_two_servers() -> Callable[[Request, Answer], Answer]:
    turns = itertools.cycle("ab")
    return on_image(lambda answer: answer.put(ETag=f'"{next(turns)}"'), 200, 206)


def chunks_of_two_servers() -> Callable[[Request, Answer], Answer]:
    """Replicas that cut virtual chunks otherwise."""
    turns = itertools.cycle((b"a", b"b"))

    def change(answer: Answer) -> Answer:
        turn = next(turns)
        version = b'"version":"virtual-' + turn + b'"'
        body = re.sub(rb'"version": ?"[^"]*"', version, answer.body)
        return attrs.evolve(answer, body=body).put(ETag=f'"manifest-{turn.decode()}"', Content_Length=str(len(body)))

    return lambda request, answer: change(answer) if request.target.endswith("/chunked/manifest.json") else answer


def in_list(change: Callable[[bytes], bytes]) -> Callable[[Request, Answer], Answer]:
    return lambda request, answer: (
        answer.filled(change(answer.body)) if (request.method, request.target) == ("GET", "/v1/images") else answer
    )


def allow_whoever_asks(request: Request, answer: Answer) -> Answer:
    origin = request.headers.get("origin", "null")
    return answer.put(Access_Control_Allow_Origin=origin, Access_Control_Allow_Credentials="true", Vary="Origin")


def only_list(document: object) -> Callable[[Request, Answer], Answer]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return lambda request, answer: answer.filled(body) if request.target == "/v1/images" else answer


def drop_version(request: Request) -> Request:
    """A rewrite that takes the image for what is meant."""
    return attrs.evolve(request, target=re.sub("/versions/.*", "", request.target))


def in_meta(old: bytes, new: bytes) -> Callable[[Request, Answer], Answer]:
    """Change the version in the metadata of the image."""

    def change(answer: Answer) -> Answer:
        return answer.filled(re.sub(old, new, answer.body))

    return on_path("/meta", change)


def by_digest(request: Request) -> Request:
    """The daemon has the version that the metadata will be made to tell."""
    return attrs.evolve(request, target=request.target.replace("/versions/sha256-", "/versions/v-"))


SINGLE = "range-first range-one range-middle range-last range-suffix range-open range-clipped"
RANGES = f"{SINGLE} streaming if-range-right"
POLICY = "cache-control cors cors-preflight corp"
PROBES = "healthz readyz version date"

CASES: dict[str, FaultCase] = {
    "drops Range": failure(
        f"{RANGES} range-unsatisfiable range-multiple", "proxy_set_header Range $http_range", before=drop("range")
    ),
    "drops If-Range": failure("if-range-wrong", "If-Range $http_if_range", before=drop("if-range")),
    "drops If-None-Match": failure("if-none-match", "$http_if_none_match", before=drop("if-none-match")),
    "says 304 to everything": failure(
        "if-none-match",
        "compare it",
        after=lambda r, a: attrs.evolve(a, status=304) if "if-none-match" in r.headers else a,
    ),
    "compresses": failure("compression chunk", "gzip off", after=compress),
    "compresses always": failure("compression", "gzip off", after=on_image(put(Content_Encoding="br"))),
    "another tag for gzip": failure("compression", "SetEnv no-gzip", after=retag),
    "Vary: Accept-Encoding": warning("compression", "gzip_vary off", after=on_image(put(Vary="Accept-Encoding"))),
    "weakens ETag": failure("etag", "gzip off", after=everywhere(weaken)),
    "strips ETag": failure("etag", "proxy_hide_header", after=everywhere(put(ETag=None))),
    "two servers": failure(
        "etag meta get if-range-right if-none-match compression image-version replica-tags",
        "same tags",
        after=tags_of_two_servers(),
    ),
    "two servers with other chunks": failure(
        "replica-versions", "--virtual-chunk-bytes", after=chunks_of_two_servers()
    ),
    "the list of another server": failure(
        "replica-tags",
        "one bucket",
        after=in_list(lambda body: re.sub(rb'"etag": ?"[^,]*"', OTHER_TAG, body)),
    ),
    "strips CORS": failure(
        "cors cors-preflight", "--cors-origin", after=everywhere(put(Access_Control_Allow_Origin=None))
    ),
    "adds CORS again": failure(
        "cors cors-preflight", "add_header", after=everywhere(lambda a: a.add("Access-Control-Allow-Origin", "*"))
    ),
    "exposes nothing": failure(
        "cors-exposed", "proxy_hide_header", after=everywhere(put(Access_Control_Expose_Headers=None))
    ),
    "exposes little": warning(
        "cors-exposed",
        "proxy_hide_header",
        after=everywhere(
            put(Access_Control_Expose_Headers="Content-Range, ETag, Accept-Ranges, Content-Length, Last-Modified")
        ),
    ),
    "refuses OPTIONS": failure("cors-preflight", "pass OPTIONS on", after=on_method("OPTIONS", page(405))),
    "answers OPTIONS itself": failure(
        "cors-preflight", "pass OPTIONS on", after=on_method("OPTIONS", lambda _: Answer(204, [], b""))
    ),
    "allows few headers": failure(
        "cors-preflight",
        "pass OPTIONS on",
        after=on_method("OPTIONS", put(Access_Control_Allow_Headers="Range, Content-Type")),
    ),
    "forgets preflights": warning(
        "cors-preflight",
        "--cors-preflight-max-age-secs",
        after=on_method("OPTIONS", put(Access_Control_Max_Age=None)),
    ),
    "credentials with *": failure(
        "cors-credentials",
        "--cors-origin with the origins",
        after=everywhere(put(Access_Control_Allow_Credentials="true")),
    ),
    "origin without Vary": failure(
        "cors-credentials",
        "Vary: Origin",
        after=everywhere(put(Access_Control_Allow_Origin="https://doctor.example")),
    ),
    "allows whoever asks": warning("cors-credentials", "--cors-origin", after=allow_whoever_asks),
    "errors without CORS": failure(
        "cors-errors", "always", after=lambda _r, a: a.put(Access_Control_Allow_Origin=None) if a.status > 399 else a
    ),
    "strips CORP": failure(
        "corp", "--cross-origin-resource-policy", after=everywhere(put(Cross_Origin_Resource_Policy=None))
    ),
    "adds CORP again": failure(
        "corp", "add_header", after=everywhere(lambda a: a.add("Cross-Origin-Resource-Policy", "cross-origin"))
    ),
    "wrong Content-Range": failure(RANGES, "$http_range", after=on_image(misplace(1), 206)),
    "no Content-Range": failure(RANGES, "proxy_hide_header", after=on_image(put(Content_Range=None), 206)),
    "size unknown in ranges": failure(
        RANGES, "proxy_hide_header", after=on_image(put(Content_Range="bytes 0-511/*"), 206)
    ),
    "shifted bytes": failure("range-bytes image-version chunk", "slice_range", after=on_image(shift, 206)),
    "shifted bytes at odd places": failure("range-bytes", "slice_range", after=shift_odd),
    "truncated ranges": failure(
        f"{RANGES} keep-alive range-bytes etag compression content cors cors-exposed cors-credentials cors-errors "
        "image-version chunk",
        "proxy_read_timeout",
        after=on_image(lambda a: attrs.evolve(a, cut=len(a.body) // 2), 206),
    ),
    "truncated large ranges": failure(
        "streaming",
        "proxy_read_timeout",
        after=on_image(lambda a: attrs.evolve(a, cut=200_000) if len(a.body) > 200_000 else a, 206),
    ),
    "chunked transfer": failure(
        f"{RANGES} keep-alive",
        "gzip off",
        after=on_image(lambda a: attrs.evolve(a.put(Content_Length=None, Connection="close")), 206),
    ),
    "416 becomes a page": failure(
        "range-unsatisfiable range-multiple", "$http_range", after=lambda _r, a: page()(a) if a.status == 416 else a
    ),
    "416 without size": failure(
        "range-unsatisfiable",
        "error_page",
        after=lambda _r, a: a.put(Content_Range=None) if a.status == 416 else a,
    ),
    "makes multipart ranges": warning(
        "range-multiple",
        "max_ranges 1",
        after=lambda r, a: attrs.evolve(a, status=206) if "," in r.headers.get("range", "") else a,
    ),
    "HTML for everything": failure(f"{PROBES} image-list errors-uncached", "proxy_pass", after=everywhere(page())),
    "HTML for the image": failure(
        f"content-type meta head etag image-version range-unsatisfiable range-multiple streaming {SINGLE} {POLICY}",
        "proxy_pass",
        after=on_image(page()),
    ),
    "HTML for what is not there": failure(
        "errors-uncached image-version-other profile",
        "proxy_pass",
        after=lambda _r, a: page()(a) if a.status == 404 else a,
    ),
    "redirects": failure(
        f"image-list {PROBES} errors-uncached",
        "name the URL",
        after=everywhere(lambda _: Answer(301, [("Location", "https://x.test/"), ("Content-Length", "0")], b"")),
    ),
    "asks for a password": failure(f"image-list {PROBES} errors-uncached", "--header", after=everywhere(page(401))),
    "is down behind the proxy": failure(f"image-list {PROBES} errors-uncached", "proxy", after=everywhere(page(502))),
    "caches errors": failure(
        "errors-uncached image-version-other",
        "proxy_cache_valid 200 206",
        after=lambda _r, a: a.put(Cache_Control="max-age=60") if a.status > 399 else a,
    ),
    "strips Cache-Control": failure(
        "cache-control errors-uncached image-version-caching image-version-other chunk-manifest chunk chunk-caching",
        "expires",
        after=everywhere(put(Cache_Control=None)),
    ),
    "strips no-transform": failure(
        "cache-control cache-credentials",
        "expires",
        after=on_image(put(Cache_Control="public, max-age=3600"), 200, 206),
    ),
    "no max-age": warning(
        "cache-control cache-credentials",
        "proxy_hide_header",
        after=on_image(put(Cache_Control="public, no-transform"), 200, 206),
    ),
    "keeps nothing": warning(
        "cache-control",
        "no Cookie or Authorization",
        before=lambda r: attrs.evolve(r, headers={**r.headers, "cookie": "x"}),
    ),
    "caches what cookies get": warning("cache-credentials", "proxy_cache_bypass", before=drop("cookie")),
    "HEAD without length": failure(
        "head get", "proxy_cache_convert_head", after=on_method("HEAD", put(Content_Length=None))
    ),
    "HEAD of nothing": failure("get meta", "pass HEAD on", after=on_method("HEAD", put(Content_Length="1"))),
    "no Accept-Ranges": failure("head", "$http_range", after=everywhere(put(Accept_Ranges=None))),
    "GET without length": failure(
        "get",
        "gzip off",
        after=lambda r, a: (
            a.put(Content_Length=None, Connection="close")
            if r.is_image and r.method == "GET" and a.status == 200
            else a
        ),
    ),
    "HTTP/1.0": warning(
        "http-version keep-alive",
        "proxy_http_version",
        after=everywhere(lambda a: attrs.evolve(a.put(Connection="close"), version="HTTP/1.0")),
    ),
    "closes": warning("keep-alive", "keepalive_timeout", after=everywhere(put(Connection="close"))),
    "no probes": warning("healthz readyz", "location = /healthz", after=on_path("z", page(404))),
    "not ready": failure("readyz", "catalog check", after=on_path("/readyz", page(503))),
    "another program's version": warning(
        "version", "proxy_pass", after=lambda r, a: page()(a) if r.target == "/version" else a
    ),
    "no Date": warning("date", "proxy_hide_header", after=everywhere(put(Date=None))),
    "an old Date": warning("date", "NTP", after=everywhere(put(Date="Thu, 02 Jan 2020 03:04:05 GMT"))),
    "calls bytes text": failure("content-type", "proxy_hide_header", after=on_image(put(Content_Type="text/plain"))),
    "strips nosniff": warning("content-type", "nosniff", after=on_image(put(X_Content_Type_Options=None))),
    "an empty list": failure("image-list", "--images-root", after=only_list([])),
    "no list": failure("image-list", "proxy_pass", after=only_list({"images": []})),
    "a list that is no JSON": failure("image-list", "proxy_pass", after=only_list(b"[" * 100_000)),
    "a list of nameless images": failure(
        "image-list", "proxy_pass", after=only_list([{"id": "../x", "size_bytes": 1, "etag": ""}])
    ),
    "stale metadata": failure(
        "meta",
        "empty the proxy's cache",
        after=on_path("/meta", lambda a: a.filled(a.body.replace(b'"size_bytes":', b'"size_bytes":1'))),
    ),
    "metadata that are none": failure("meta", "proxy_pass", after=on_path("/meta", page())),
    "knows no versions": failure(
        "image-version image-version-other", "without rewrite", after=on_path("/versions/", page(404))
    ),
    "drops the version": failure("image-version-other image-version-caching", "without rewrite", before=drop_version),
    "keeps errors of versions": failure(
        "image-version-other",
        "proxy_cache_valid 200 206",
        after=on_path("/versions/aero", put(Cache_Control="max-age=60")),
    ),
    "refuses other versions": failure(
        "image-version-other", "proxy", after=on_path("/versions/aero", lambda a: attrs.evolve(a, status=403))
    ),
    "metadata of another version": failure("image-version", "empty the proxy's cache", after=in_meta(b"v-", b"v-0")),
    "a version that is none": failure("image-version", "without rewrite", after=in_meta(b"v-", b"v/")),
    "a version that is a number": failure("image-version", "without rewrite", after=in_meta(b'"v-[^"]*"', b"17")),
    "a version by digest without one": failure(
        "image-version", "empty the proxy's cache", before=by_digest, after=in_meta(b"v-", b"sha256-")
    ),
    "other bytes under a version": failure(
        "image-version", "empty the proxy's cache", after=on_path("/versions/", shift)
    ),
    "another tag under a version": failure(
        "image-version", "empty the proxy's cache", after=on_path("/versions/", put(ETag='"other"'))
    ),
    "another length under a version": failure(
        "image-version", "empty the proxy's cache", after=on_path("/versions/v-", put(Content_Length="1"))
    ),
    "versions kept shortly": warning(
        "image-version-caching",
        "immutable",
        after=on_path("/versions/v-", put(Cache_Control="public, max-age=60, no-transform")),
    ),
    "versions kept for good, for a minute": warning(
        "image-version-caching",
        "immutable",
        after=on_path("/versions/v-", put(Cache_Control="public, max-age=60, immutable, no-transform")),
    ),
    "versions kept, not for good": warning(
        "image-version-caching",
        "immutable",
        after=on_path("/versions/v-", put(Cache_Control="public, max-age=31536000, no-transform")),
    ),
    "a chunk of other bytes": failure("chunk", "verify", after=on_path("/chunks/", shift)),
    "a short chunk": failure("chunk", "verify", after=on_path("/chunks/", lambda a: a.filled(a.body[:512]))),
    "compressed chunks": failure(
        "chunk", "gzip off", after=lambda r, a: compress(r, a) if "/chunks/" in r.target else a
    ),
    "chunks may be changed": failure(
        "chunk", "expires", after=on_path("/chunks/", put(Cache_Control="public, max-age=31536000, immutable"))
    ),
    "chunks are text": warning(
        "chunk", "proxy_hide_header", after=on_path("/chunks/", put(Content_Type="text/plain"))
    ),
    "chunks too large": failure("chunk", "--max-chunk-bytes", after=on_path("/chunks/", page(413))),
    "chunks kept shortly": warning(
        "chunk-caching", "immutable", after=on_path("/chunks/", put(Cache_Control="public, max-age=60, no-transform"))
    ),
    "a manifest that is none": failure("chunk-manifest", "verify", after=on_path("/chunked/manifest", page())),
    "a manifest that may be changed": failure(
        "chunk-manifest", "expires", after=on_path("/chunked/manifest", put(Cache_Control="public"))
    ),
}
