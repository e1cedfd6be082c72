"""A daemon that nothing stands in front of: whatever its settings, the doctor has nothing to say against it."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from tests.conftest import IMAGE
from tests.doctor.faulty_proxy import Answer, FaultyProxy, ProxyFault, Request

from aero_storage.doctor.result import CheckResult, Severity
from aero_storage.doctor.runner import CHECKS, DoctorReport

Look = Callable[..., DoctorReport]
CHUNKS = {"virtual_chunks": "true"}
NO_CHUNKS = "chunk-manifest chunk chunk-caching replica-versions"
LEASES = {check.name for check in CHECKS if check.name.startswith("lease-")}
CORS = "cors cors-exposed cors-preflight cors-credentials cors-errors"


def checks(report: DoctorReport, severity: Severity) -> set[str]:
    return {finding.check for finding in report.results if finding.result.severity is severity}


def finding(report: DoctorReport, check: str) -> CheckResult:
    (found,) = [one for one in report.results if one.check == check]
    return found


def test_names() -> None:
    """Scripts find each check by a name of its own."""
    assert len({check.name for check in CHECKS}) == len(CHECKS) > 40


@pytest.mark.parametrize(
    ("settings", "options", "skipped"),
    [
        (CHUNKS, {}, ""),
        ({}, {}, NO_CHUNKS),
        (CHUNKS | {"require_range": "true"}, {}, ""),
        (CHUNKS | {"express": "false"}, {}, ""),
        (CHUNKS | {"open_ended_ranges": "limit"}, {}, ""),
        (CHUNKS | {"max_range_bytes": "1024"}, {}, "range-bytes content"),
        (CHUNKS | {"max_range_bytes": "none"}, {}, ""),
        (CHUNKS | {"disable_metrics": "true"}, {}, ""),
        (CHUNKS | {"metrics_auth_token": "a-token"}, {}, ""),
        (CHUNKS | {"cors_origin": "https://app.example"}, {"origin": "https://app.example"}, ""),
        (CHUNKS | {"cors_origin": "https://app.example"}, {}, CORS),
        (CHUNKS | {"cross_origin_resource_policy": "cross-origin"}, {}, ""),
    ],
)
def test_all_pass(
    settings: dict[str, str],
    options: dict[str, str],
    skipped: str,
    open_proxy: Callable[..., FaultyProxy],
    examine_proxy: Look,
) -> None:
    """Nothing is found; what could not be looked at says why."""
    report = examine_proxy(open_proxy(**settings), **options)
    assert [one for one in report.results if one.result.means] == []
    assert checks(report, Severity.SKIPPED) == {"range-far", "profile", *LEASES, *skipped.split()}
    assert all(one.result.seen for one in report.results)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("1024", "longer ones are a 413, Aero-Max-Range-Bytes: 1024"),
        ("none", "the whole image may be read as one range"),
    ],
)
def test_limit_of_ranges(open_proxy: Callable[..., FaultyProxy], examine_proxy: Look, limit: str, text: str) -> None:
    """The limit that downloaders may meet is told, with the setting that lifts it."""
    seen = finding(examine_proxy(open_proxy(max_range_bytes=limit)), "range-limit").result.seen
    assert text in seen
    assert ("--max-range-bytes none" in seen) is (limit != "none")


def test_limit_of_ranges_that_is_dropped(open_proxy: Callable[..., FaultyProxy], examine_proxy: Look) -> None:
    """A proxy that drops the limit from the 413 is a warning: clients cannot learn it."""
    proxy = open_proxy(max_range_bytes="1024")
    proxy.fault = ProxyFault(lambda request: request, lambda _, answer: answer.put(Aero_Max_Range_Bytes=None))
    told = finding(examine_proxy(proxy), "range-limit").result
    assert (told.severity, "no Aero-Max-Range-Bytes" in told.seen) == (Severity.WARNING, True)


@pytest.mark.parametrize(
    ("data", "skipped"),
    [
        (b"x", f"range-far range-multiple range-bytes {NO_CHUNKS}"),
        (bytes(4096), f"range-far range-bytes {NO_CHUNKS}"),
        (b"ab", f"range-far {NO_CHUNKS}"),
    ],
)
def test_odd_images(
    data: bytes, skipped: str, open_proxy: Callable[..., FaultyProxy], tmp_path: Path, examine_proxy: Look
) -> None:
    """Images that ranges hardly fit into, or that hide mistakes, end in no complaint."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "odd").write_bytes(data)
    report = examine_proxy(open_proxy(), image="odd")
    assert [one for one in report.results if one.result.means] == []
    assert checks(report, Severity.SKIPPED) == {"profile", *LEASES, *skipped.split()}


def test_empty_image(open_proxy: Callable[..., FaultyProxy], tmp_path: Path, examine_proxy: Look) -> None:
    """What an image without bytes cannot show is left out, and the reason names the way out."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "empty").write_bytes(b"")
    report = examine_proxy(open_proxy(), image="empty")
    assert report.is_good
    assert "--image" in finding(report, "range-first").result.seen
    assert finding(report, "range-first").result.severity is Severity.SKIPPED


def catalog(tmp_path: Path, **fields: object) -> None:
    (tmp_path / "images").mkdir(exist_ok=True)
    entry = {"id": "disk", "file": "disk.img", "name": "Disk", **fields}
    (tmp_path / "images" / "manifest.json").write_text(json.dumps([entry]), encoding="utf-8")


def test_private_image(open_proxy: Callable[..., FaultyProxy], tmp_path: Path, examine_proxy: Look) -> None:
    """That a private image is kept by nobody is as it should be; that anybody reads it is a warning."""
    catalog(tmp_path, public=False)
    report = examine_proxy(open_proxy(virtual_chunks="true"))
    assert [one.check for one in report.results if one.result.means] == ["private-images"]
    assert "private" in finding(report, "cache-control").result.seen


def test_image_that_browsers_keep(
    open_proxy: Callable[..., FaultyProxy], tmp_path: Path, examine_proxy: Look
) -> None:
    """That browsers keep versions and chunks of a private image is as the catalog says."""
    catalog(tmp_path, public=False, private_cache="browser")
    report = examine_proxy(open_proxy(virtual_chunks="true"))
    assert [one.check for one in report.results if one.result.means] == ["private-images"]
    assert "private, max-age=31536000, immutable" in finding(report, "image-version-caching").result.seen


@pytest.mark.parametrize(
    ("part", "check"),
    [("/versions/v-", "image-version-caching"), ("/chunks/", "chunk-caching"), ("/disk", "cache-control")],
)
@pytest.mark.parametrize("private_cache", [None, "browser"])
def test_private_image_in_public_caches(
    part: str,
    check: str,
    private_cache: str | None,
    open_proxy: Callable[..., FaultyProxy],
    tmp_path: Path,
    examine_proxy: Look,
) -> None:
    """A proxy that makes a private image public is found, whatever URL the image has."""
    catalog(tmp_path, public=False, private_cache=private_cache)
    proxy = open_proxy(virtual_chunks="true")

    def publish(request: Request, answer: Answer) -> Answer:
        is_meant = part in request.target and "/meta" not in request.target and answer.status in {200, 206}
        return answer.put(Cache_Control="public, max-age=31536000, immutable, no-transform") if is_meant else answer

    proxy.fault = ProxyFault(after=publish)
    result = finding(examine_proxy(proxy), check).result
    assert (result.severity, "but the image is private" in result.seen) == (Severity.FAILURE, True)
    assert "empty the caches" in result.remedy


def test_versions(open_proxy: Callable[..., FaultyProxy], tmp_path: Path, examine_proxy: Look) -> None:
    """A version by digest agrees with digest and tag; an image without a version is left out, with the reason."""
    digest = hashlib.sha256(IMAGE).hexdigest()
    for fields, seen in (
        ({"sha256": digest}, f"sha256-{digest}"),
        ({"sha256": digest, "etag": '"mine"'}, f"sha256-{digest}"),
        ({"etag": '"mine"'}, "v-"),
        ({"etag": 'W/"mine"'}, "no version"),
    ):
        catalog(tmp_path, **fields)
        report = examine_proxy(open_proxy())
        assert seen in finding(report, "image-version").result.seen
        for name in ("image-version", "image-version-caching", "image-version-other"):
            is_skipped = finding(report, name).result.severity is Severity.SKIPPED
            assert is_skipped is (seen == "no version")
            assert not finding(report, name).result.means


def test_image_that_is_replaced_meanwhile(open_proxy: Callable[..., FaultyProxy], examine_proxy: Look) -> None:
    """A version that is a 404 as the image was replaced just now is no fault."""
    proxy = open_proxy()
    told = itertools.chain([b"v-0"], itertools.repeat(b"v-1"))

    def change(request: Request, answer: Answer) -> Answer:
        if request.target.endswith("/meta") and request.method == "GET":
            return answer.filled(answer.body.replace(b"v-", next(told)))
        return answer

    proxy.fault = ProxyFault(lambda request: request, change)
    assert "replaced" in finding(examine_proxy(proxy), "image-version").result.seen


def test_weak_tag_of_the_catalog(open_proxy: Callable[..., FaultyProxy], tmp_path: Path, examine_proxy: Look) -> None:
    """A weak tag that the operator wrote is no fault of a proxy, and the catalog is what to mend."""
    catalog(tmp_path, etag='W/"1"')
    told = finding(examine_proxy(open_proxy(virtual_chunks="true")), "etag").result
    assert told.severity is Severity.WARNING
    assert "catalog" in told.remedy


def test_other_origin(open_proxy: Callable[..., FaultyProxy], examine_proxy: Look) -> None:
    """Pages that the daemon does not know of are told about, and the flag for them."""
    report = examine_proxy(open_proxy(cors_origin="https://app.example"), origin="https://other.example")
    assert checks(report, Severity.FAILURE) == {"cors", "cors-preflight"}
    assert "--cors-origin https://other.example" in finding(report, "cors").result.remedy


def test_missing_image(open_proxy: Callable[..., FaultyProxy], examine_proxy: Look) -> None:
    """An image that is not there is an error of the one who asks, and all about it fails or is left out."""
    report = examine_proxy(open_proxy(), image="absent")
    assert {"head", "meta", "get"} <= checks(report, Severity.FAILURE)
    assert "aero-storage list" in finding(report, "head").result.remedy


def test_seen_from_outside(proxy: FaultyProxy, examine_proxy: Look) -> None:
    """On an address that others can reach, open metrics and plain HTTP are warnings, and the status stays 0."""
    report = examine_proxy(proxy, host="0.0.0.0")
    assert checks(report, Severity.WARNING) == {"metrics", "certificate"}
    assert "--metrics-auth-token-file" in finding(report, "metrics").result.remedy
    assert report.is_good


FOUR_GIB = 1 << 32


def wants_all(request: Request) -> bool:
    is_part = "range" in request.headers and "if-range" not in request.headers
    return request.is_image and request.method == "GET" and not is_part


def without_all(request: Request) -> Request:
    """The daemon in memory cannot hold all of a large image; its head will do."""
    return attrs.evolve(request, method="HEAD") if wants_all(request) else request


def without_body(request: Request, answer: Answer) -> Answer:
    return attrs.evolve(answer, cut=0) if wants_all(request) else answer


def in_32_bits(request: Request, answer: Answer) -> Answer:
    """What a proxy says that counts so."""
    text = answer.get("Content-Range").replace(f"-{FOUR_GIB + 511}/", "-511/")
    return without_body(request, answer.put(Content_Range=text) if answer.status == 206 else answer)


@pytest.mark.parametrize("is_sound", [True, False])
def test_beyond_four_gib(
    open_proxy: Callable[..., FaultyProxy], tmp_path: Path, examine_proxy: Look, *, is_sound: bool
) -> None:
    """Bytes around 4 GiB are looked at where there are some, and who counts with 32 bits is found out."""
    proxy = open_proxy()
    with (tmp_path / "images" / "disk.img").open("wb") as file:
        file.truncate(FOUR_GIB + 4096)
    proxy.fault = ProxyFault(without_all, without_body if is_sound else in_32_bits)
    told = finding(examine_proxy(proxy), "range-far").result
    assert told.severity is (Severity.PASS if is_sound else Severity.FAILURE)
