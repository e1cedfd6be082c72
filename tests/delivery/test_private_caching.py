"""Who may keep what of a private image, with leases and without (http.md §5, §6, §12 and §13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from tests.policies import cors_with, policy_with

from aero_storage.catalog.model import Image
from aero_storage.delivery.representation import version_of
from aero_storage.http.cors import ALLOWED_METHODS
from aero_storage.http.versions import image_version

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench

    from aero_storage.delivery.policy import Policy
    from aero_storage.delivery.reply import Reply

SIZE = 1024
PUBLIC = Image("disk.img", "disk.raw", "Disk", recommended_chunk_size_bytes=512)
PRIVATE = attrs.evolve(PUBLIC, public=False)
BROWSER = attrs.evolve(PRIVATE, private_cache="browser")
BASE = "/v1/images/disk.img"
CREDENTIALS: list[dict[str, str]] = [{}, {"Cookie": "a=b"}, {"Authorization": "Bearer x"}]
NOBODY = "private, no-store, no-transform"
YEAR = "max-age=31536000, immutable, no-transform"
ANYBODY_FOR_GOOD, BROWSER_FOR_GOOD = f"public, {YEAR}", f"private, {YEAR}"
HOUR = "public, max-age=3600, no-transform"
VARY = "Authorization, Cookie"

# What is asked for below the image, and whether browsers may keep it: it never changes, and is no chunk manifest.
BYTES = {
    "moving bytes": ("", False),
    "moving data": ("/data", False),
    "version": ("/versions/{version}", True),
    "data of a version": ("/versions/{version}/data", True),
}
CHUNKS = {
    "moving virtual manifest": ("/chunked/manifest.json", False),
    "moving virtual chunk": ("/chunked/chunks/00000001.bin", False),
    "virtual manifest": ("/chunked/{chunked}/manifest", False),
    "virtual chunk": ("/chunked/{chunked}/chunks/00000001.bin", True),
}
# What is asked for of published chunks, and whether it is a chunk.
PUBLISHED = {
    "manifest": ("/chunked/manifest.json", False),
    "chunk": ("/chunked/chunks/0.bin", True),
    "versioned manifest": ("/chunked/v1/manifest", False),
    "versioned chunk": ("/chunked/v1/chunks/0.bin", True),
}
CONDITIONS = [({}, 200), ({"If-None-Match": "*"}, 304)]


@pytest.fixture(autouse=True)
def _store(bench: Bench) -> None:
    bench.store.put("disk.raw", SIZE)


def policy_of(*, leases: bool, **changes: object) -> Policy:
    return policy_with(leases=leases, virtual_chunks=True, **changes)


def publish(bench: Bench, *, versioned: bool) -> None:
    """Put one published chunk and its manifest below the image, and no raw file."""
    bench.store.blobs.clear()
    directory = "chunked/disk.img/v1" if versioned else "chunked/disk.img"
    for name in ("manifest.json", "chunks/0.bin"):
        bench.store.put(f"{directory}/{name}", 512)


def path_of(ask: Ask, bench: Bench, image: Image, rest: str) -> str:
    """The path with the versions that the image has now."""
    if "{" not in rest:
        return BASE + rest
    status = bench.store.blobs["disk.raw"].status
    bench.serve(image)
    manifest = bench.answer(ask(f"{BASE}/chunked/manifest"), policy_of(leases=False)).body.decode()
    chunked = manifest.partition('"version":"')[2].partition('"')[0]
    return BASE + rest.format(version=version_of(image, status), chunked=chunked)


def asked(ask: Ask, bench: Bench, image: Image, path: str, headers: dict[str, str], policy: Policy) -> Reply:
    bench.serve(image)
    return bench.answer(ask(path, headers), policy)


def told(reply: Reply) -> tuple[int, str, str | None]:
    """Status, `Cache-Control` and `Vary`; each field is there once at most."""
    fields = dict(reply.headers)
    assert len(fields) == len(reply.headers)
    return reply.status, fields["Cache-Control"], fields.get("Vary")


@pytest.mark.parametrize(("condition", "status"), [*CONDITIONS, ({"Range": "bytes=0-1"}, 206)], ids=repr)
@pytest.mark.parametrize("credentials", CREDENTIALS, ids=repr)
@pytest.mark.parametrize("leases", [False, True])
@pytest.mark.parametrize(("rest", "is_kept"), (BYTES | CHUNKS).values(), ids=BYTES | CHUNKS)
def test_private_image(
    ask: Ask,
    bench: Bench,
    rest: str,
    condition: dict[str, str],
    status: int,
    credentials: dict[str, str],
    *,
    is_kept: bool,
    leases: bool,
) -> None:
    """A private image is kept by nobody; by browsers, if its entry says so, as far as it never changes under its URL.

    What is kept holds for every lease; the rest hangs on the credentials, if leases are on.
    """
    status = 200 if status == 206 and "chunked" in rest else status
    policy, path = policy_of(leases=leases), path_of(ask, bench, PRIVATE, rest)
    headers = condition | credentials
    nobody = (status, NOBODY, VARY if leases else None)
    assert told(asked(ask, bench, PRIVATE, path, headers, policy)) == nobody
    kept = (status, BROWSER_FOR_GOOD, None) if is_kept else nobody
    assert told(asked(ask, bench, BROWSER, path, headers, policy)) == kept


@pytest.mark.parametrize(("condition", "status"), CONDITIONS, ids=repr)
@pytest.mark.parametrize("credentials", CREDENTIALS, ids=repr)
@pytest.mark.parametrize("leases", [False, True])
@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize(("rest", "is_chunk"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_chunks_of_a_private_image(
    ask: Ask,
    bench: Bench,
    rest: str,
    version: str | None,
    condition: dict[str, str],
    status: int,
    credentials: dict[str, str],
    *,
    is_chunk: bool,
    leases: bool,
) -> None:
    """Browsers keep the published chunks that everybody would keep for good, were the image public; no manifest."""
    versioned = "v1" in rest or version is not None
    publish(bench, versioned=versioned)
    image = attrs.evolve(BROWSER, chunked_version=version)
    policy, headers = policy_of(leases=leases), condition | credentials
    never_changes = "v1" in rest or version is None
    is_kept = is_chunk and never_changes
    expected = (status, BROWSER_FOR_GOOD, None) if is_kept else (status, NOBODY, VARY if leases else None)
    assert told(asked(ask, bench, image, BASE + rest, headers, policy)) == expected
    public = asked(ask, bench, attrs.evolve(image, public=True), BASE + rest, condition, policy)
    assert told(public)[1] == (ANYBODY_FOR_GOOD if never_changes else HOUR)


@pytest.mark.parametrize("entry", [None, "browser"])
@pytest.mark.parametrize(("condition", "status"), CONDITIONS, ids=repr)
@pytest.mark.parametrize("credentials", CREDENTIALS, ids=repr)
@pytest.mark.parametrize("rest", ["", "/versions/{version}", "/chunked/manifest", "/chunked/{chunked}/chunks/0.bin"])
def test_public_image(
    ask: Ask,
    bench: Bench,
    rest: str,
    credentials: dict[str, str],
    condition: dict[str, str],
    status: int,
    entry: str | None,
) -> None:
    """Leases and `private_cache` change nothing for a public image: credentials alone forbid to keep it."""
    rest = rest.replace("0.bin", "00000000.bin")
    image = attrs.evolve(PUBLIC, private_cache=entry)
    path = path_of(ask, bench, image, rest)
    anybody = ANYBODY_FOR_GOOD if "{" in rest else HOUR
    for leases in (False, True):
        reply = asked(ask, bench, image, path, condition | credentials, policy_of(leases=leases))
        assert told(reply) == (status, NOBODY if credentials else anybody, None)


@pytest.mark.parametrize("condition", [{}, {"If-None-Match": "*"}], ids=repr)
@pytest.mark.parametrize("credentials", CREDENTIALS, ids=repr)
@pytest.mark.parametrize("image", [PRIVATE, BROWSER], ids=["private", "browser"])
def test_metadata(
    ask: Ask, bench: Bench, image: Image, credentials: dict[str, str], condition: dict[str, str]
) -> None:
    """`meta` of a private image is kept by nobody if leases are on; else it is revalidated, as all others are."""
    path, headers = f"{BASE}/meta", condition | credentials
    status = 304 if condition else 200
    revalidated = (status, "no-cache", None)
    assert told(asked(ask, bench, image, path, headers, policy_of(leases=True))) == (status, NOBODY, VARY)
    assert told(asked(ask, bench, image, path, headers, policy_of(leases=False))) == revalidated
    for leases in (False, True):
        assert told(asked(ask, bench, PUBLIC, path, headers, policy_of(leases=leases))) == revalidated


@pytest.mark.parametrize("condition", [{}, {"If-None-Match": "*"}], ids=repr)
@pytest.mark.parametrize("credentials", CREDENTIALS, ids=repr)
def test_list(ask: Ask, bench: Bench, credentials: dict[str, str], condition: dict[str, str]) -> None:
    """Under leases the list hangs on the credentials, and is kept by nobody if it shows a private image."""
    other = attrs.evolve(PUBLIC, id="other")
    status = 304 if condition else 200
    for images, under_leases in (((PUBLIC, other), "no-cache"), ((other, PRIVATE), NOBODY), ((BROWSER,), NOBODY)):
        bench.serve(*images)
        facts = ask("/v1/images", condition | credentials)
        assert told(bench.answer(facts, policy_of(leases=True))) == (status, under_leases, VARY)
        assert told(bench.answer(facts, policy_of(leases=False))) == (status, "no-cache", None)


@pytest.mark.parametrize("origin", [{}, {"Origin": "https://a.example"}, {"Origin": "https://b.example"}], ids=repr)
@pytest.mark.parametrize(
    ("path", "image", "leases", "vary"),
    [
        (BASE, PRIVATE, True, f"Origin, {VARY}"),
        (BASE, PRIVATE, False, "Origin"),
        (BASE, PUBLIC, True, "Origin"),
        (f"{BASE}/versions/{{version}}", BROWSER, True, "Origin"),
        (f"{BASE}/meta", PRIVATE, True, f"Origin, {VARY}"),
        (f"{BASE}/meta", PUBLIC, True, "Origin"),
        ("/v1/images", PUBLIC, True, f"Origin, {VARY}"),
        ("/v1/images", PUBLIC, False, "Origin"),
    ],
)
@pytest.mark.parametrize("condition", [{}, {"If-None-Match": "*"}, {"Range": "bytes=0-1"}], ids=repr)
def test_origins_and_credentials(
    ask: Ask,
    bench: Bench,
    path: str,
    image: Image,
    vary: str,
    origin: dict[str, str],
    condition: dict[str, str],
    *,
    leases: bool,
) -> None:
    """With an allowlist of origins, one `Vary` names the origin and the credentials."""
    tag = '"400-6553f100-1dcd6500"'
    path = path.format(version=image_version(SIZE, tag, tag, None))
    policy = policy_of(leases=leases, cors=cors_with("https://a.example"))
    assert told(asked(ask, bench, image, path, condition | origin, policy))[2] == vary


def test_remembered_decisions_follow_the_entry(ask: Ask, bench: Bench) -> None:
    """Once the entry lets browsers keep a version, or no longer does, the next response says so."""
    path, policy = path_of(ask, bench, PRIVATE, "/versions/{version}"), policy_of(leases=True)
    seen = [told(asked(ask, bench, image, path, {}, policy))[1] for image in (PRIVATE, BROWSER, PUBLIC, PRIVATE)]
    assert seen == [NOBODY, BROWSER_FOR_GOOD, ANYBODY_FOR_GOOD, NOBODY]


@pytest.mark.parametrize("path", [BASE, f"{BASE}/meta", "/v1/images"])
def test_preflights(ask: Ask, bench: Bench, path: str) -> None:
    """A preflight hangs on no credentials: browsers send none with it."""
    bench.serve(PRIVATE)
    fields = dict(bench.answer(ask(path, method="OPTIONS"), policy_of(leases=True)).headers)
    assert fields["Access-Control-Allow-Methods"] == ALLOWED_METHODS
    assert fields["Vary"] == "Access-Control-Request-Method, Access-Control-Request-Headers"
