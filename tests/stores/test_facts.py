"""What the design takes for granted of object stores, and of obstore, asked of real ones.

A store that has learned better, or a client that has got worse, shows here first.
"""

from __future__ import annotations

import hashlib
import http.client
import random
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import attrs
import obstore
import pytest
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
)
from obstore.store import from_url
from tests.stores.fixtures import require
from tools.stores import ceph as ceph_cluster
from tools.stores.access import Access, S3Access
from tools.stores.ceph import STRANGER, Ceph
from tools.stores.processes import StoreError, processes
from tools.stores.signing import S3Key, send

if TYPE_CHECKING:
    from obstore.store import AzureStore, S3Store

MEBIBYTE = 1 << 20
DATA = random.Random(4711).randbytes(3 * MEBIBYTE + 5)
BIG = 32 * MEBIBYTE
"""More than a gateway reads ahead and the buffers of a connection take."""
PATIENCE = 30
STORES = ["ceph", "seaweedfs", "azurite"]
S3_STORES = STORES[:2]


@attrs.frozen
class Bucket:
    """A bucket of a test's own, and obstore's client for it, set up by variables alone."""

    name: str
    access: Access
    client: S3Store | AzureStore

    @property
    def url(self) -> str:
        """The address of the bucket over HTTP."""
        return f"{cast('S3Access', self.access).endpoint}/{self.name}"

    def put(self, key: str, data: bytes = DATA, **options: Any) -> str:
        """Store an object and return its tag as the client tells it."""
        return str(obstore.put(self.client, key, data, use_multipart=False, **options)["e_tag"])

    def get(self, key: str, first: int, end: int, **conditions: str) -> bytes:
        """Read a range as the design does: with its conditions in the same call."""
        options = cast("obstore.GetOptions", {"range": (first, end), **conditions})
        return bytes(obstore.get(self.client, key, options=options).bytes())

    def raw(
        self, method: str, key: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, bytes]:
        """Send a signed request as it is, without a client that smooths it."""
        url = f"{self.url}/{key}"
        answer = send(method, url, cast("S3Access", self.access).key.headers(method, url, headers), body)
        return answer.status, answer.body


@pytest.fixture
def open_bucket(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bucket]:
    """Give a function that makes a bucket and opens it."""

    def open_one(access: Access, name: str = "", **kinds: bool) -> Bucket:
        name = name or f"facts-{secrets.token_hex(6)}"
        access.make_bucket(name, **kinds)
        for variable, value in access.environment.items():
            monkeypatch.setenv(variable, value)
        client = from_url(access.url(name), client_options={"allow_http": True}, retry_config={"max_retries": 0})
        return Bucket(name, access, cast("S3Store | AzureStore", client))

    return open_one


def access_of(store: str, request: pytest.FixtureRequest) -> Access:
    found = request.getfixturevalue(store)
    return cast("Access", found if store == "azurite" else found.access)


@pytest.fixture
def bucket(store: str, request: pytest.FixtureRequest, open_bucket: Callable[..., Bucket]) -> Bucket:
    """A bucket of the store that a test is about."""
    return open_bucket(access_of(store, request))


on_every_store = pytest.mark.parametrize("store", STORES)
on_s3 = pytest.mark.parametrize("store", S3_STORES)


@on_every_store
def test_ranges_are_exact(bucket: Bucket) -> None:
    """A range inside an object has exactly its bytes, and the answer says which they are."""
    tag = bucket.put("disk.img")
    result = obstore.get(bucket.client, "disk.img", options={"range": (MEBIBYTE, MEBIBYTE + 4096)})
    assert (result.range, result.meta["size"], result.meta["e_tag"]) == ((MEBIBYTE, MEBIBYTE + 4096), len(DATA), tag)
    assert bytes(result.bytes()) == DATA[MEBIBYTE : MEBIBYTE + 4096]


@on_every_store
def test_ranges_across_the_end_are_short(bucket: Bucket) -> None:
    """Obstore says nothing of a range that the end has cut: whoever asked has to look at the length."""
    bucket.put("disk.img")
    assert bucket.get("disk.img", len(DATA) - 10, len(DATA) + 10) == DATA[-10:]


@on_every_store
def test_reads_are_pinned(bucket: Bucket) -> None:
    """Once an object was replaced, a read with the old tag is refused, and never gives bytes of the new one."""
    old = bucket.put("disk.img")
    assert bucket.get("disk.img", 0, 100, if_match=old) == DATA[:100]
    new = bucket.put("disk.img", DATA[::-1])
    assert new != old
    with pytest.raises(PreconditionError):
        bucket.get("disk.img", 0, 100, if_match=old)


@on_every_store
def test_same_content_has_the_same_pin(bucket: Bucket, store: str) -> None:
    """S3's tag is that of the content; Azure's is a new one with each write, as if the content were another."""
    assert (bucket.put("disk.img") == bucket.put("disk.img")) is (store != "azurite")


@on_every_store
def test_one_of_many_creates(bucket: Bucket, store: str) -> None:
    """Of many that create a key at once, one succeeds; SeaweedFS lets each of the others wait a second longer."""
    racers = 3 if store == "seaweedfs" else 8

    def create(number: int) -> str:
        try:
            return bucket.put("manifest.json", b"%d" % number, mode="create")
        except AlreadyExistsError:
            return "refused"

    with ThreadPoolExecutor(racers) as threads:
        results = list(threads.map(create, range(racers)))
    assert results.count("refused") == racers - 1
    (winner,) = [number for number, result in enumerate(results) if result != "refused"]
    assert bytes(obstore.get(bucket.client, "manifest.json").bytes()) == b"%d" % winner


@on_every_store
def test_replacing_by_tag(bucket: Bucket, store: str) -> None:
    """A replacement on the condition of a tag is carried out once; Ceph takes the tag without its quotes alone."""
    quoted = bucket.put("manifest.json", b"1")
    tag = quoted.strip('"') if store == "ceph" else quoted
    bucket.put("manifest.json", b"2", mode={"e_tag": tag})
    with pytest.raises(PreconditionError):
        bucket.put("manifest.json", b"3", mode={"e_tag": tag})
    assert bytes(obstore.get(bucket.client, "manifest.json").bytes()) == b"2"


def test_ceph_refuses_quoted_tags(ceph: Ceph, open_bucket: Callable[..., Bucket]) -> None:
    """A `PUT` with `If-Match` and the tag as Ceph gave it, quotes and all, is refused though the tag is right."""
    bucket = open_bucket(ceph.access)
    quoted = bucket.put("manifest.json", b"1")
    assert quoted.startswith('"')
    assert bucket.raw("PUT", "manifest.json", {"If-Match": quoted}, b"2")[0] == 412
    assert bucket.raw("PUT", "manifest.json", {"If-Match": quoted.strip('"')}, b"2")[0] == 200


@on_every_store
def test_unfinished_uploads_are_invisible(bucket: Bucket) -> None:
    """What is uploaded in parts is not there before the last word, neither by its key nor in a list."""
    writer = obstore.open_writer(bucket.client, "big.img", buffer_size=5 * MEBIBYTE, max_concurrency=2)
    pieces = [DATA] * 4
    for piece in pieces:
        writer.write(piece)
    with pytest.raises((NotFoundError, FileNotFoundError)):
        obstore.head(bucket.client, "big.img")
    assert list(obstore.list(bucket.client)) == []
    writer.close()
    assert obstore.head(bucket.client, "big.img")["size"] == 4 * len(DATA)
    assert bucket.get("big.img", len(DATA) - 5, len(DATA) + 5) == DATA[-5:] + DATA[:5]


@on_s3
def test_tags_tell_the_content(bucket: Bucket) -> None:
    """The tag of an object that was put whole is its MD5; that of one in parts is not, and says so by a dash."""
    assert bucket.put("disk.img").strip('"') == hashlib.md5(DATA).hexdigest()
    obstore.put(bucket.client, "parts.img", DATA * 4, chunk_size=5 * MEBIBYTE)
    assert str(obstore.head(bucket.client, "parts.img")["e_tag"]).strip('"').endswith("-3")


@on_s3
def test_old_versions_are_read(
    store: str, request: pytest.FixtureRequest, open_bucket: Callable[..., Bucket]
) -> None:
    """In a versioned bucket what was replaced, and even deleted, is read by its version."""
    bucket = open_bucket(access_of(store, request), versioned=True)
    version = obstore.put(bucket.client, "disk.img", DATA)["version"]
    assert version
    bucket.put("disk.img", b"another")
    obstore.delete(bucket.client, "disk.img")
    assert bucket.get("disk.img", 7, 99, version=version) == DATA[7:99]


@on_s3
def test_wrong_secrets(
    store: str, request: pytest.FixtureRequest, open_bucket: Callable[..., Bucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong secret is told from everything else, and the message does not have it."""
    bucket = open_bucket(access_of(store, request))
    bucket.put("disk.img", b"1")
    wrong = "aWrongSecret"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", wrong)
    client = from_url(bucket.access.url(bucket.name), client_options={"allow_http": True})
    with pytest.raises(PermissionDeniedError) as denied:
        obstore.get(client, "disk.img", options={"range": (0, 1)})
    assert wrong not in str(denied.value)


def test_strangers(ceph: Ceph, open_bucket: Callable[..., Bucket]) -> None:
    """A good key without a right to the bucket is denied too."""
    bucket = open_bucket(ceph.access)
    bucket.put("disk.img", b"1")
    stranger = attrs.evolve(bucket, access=attrs.evolve(ceph.access, key=STRANGER))
    status, body = stranger.raw("GET", "disk.img")
    assert (status, b"AccessDenied" in body) == (403, True)


@attrs.frozen
class Reading:
    """A body that is being read, with no client's help; a small receive buffer keeps most of it in the store."""

    response: http.client.HTTPResponse
    connection: socket.socket

    def rest(self) -> bytes:
        """Read as naive clients do: until there is no more."""
        return b"".join(iter(lambda: self.response.read(MEBIBYTE), b""))


def begin(access: S3Access, path: str) -> Reading:
    """Ask for an object, and read its first bytes."""
    url = urlsplit(f"{access.endpoint}{path}")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    connection.settimeout(PATIENCE)
    connection.connect((url.hostname, url.port))
    headers = access.key.headers("GET", url.geturl())
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert (response.status, response.length) == (200, BIG)
    return Reading(response, connection)


BIG_DATA = random.Random(12).randbytes(BIG)


@on_s3
def test_replaced_in_mid_read(bucket: Bucket) -> None:
    """A body that has begun never goes on with bytes of what has replaced the object."""
    bucket.put("big.img", b"o" * BIG)
    reading = begin(cast("S3Access", bucket.access), f"/{bucket.name}/big.img")
    try:
        first = reading.response.read(1000)
        bucket.put("big.img", b"n" * BIG)
        got = first + reading.rest()
    finally:
        reading.connection.close()
    assert got == b"o" * BIG


@on_s3
def test_replaced_between_ranges(bucket: Bucket) -> None:
    """`If-Range` is not looked at: once an object was replaced, a range with the old tag is one of the new object."""
    old = bucket.put("disk.img")
    new = bucket.put("disk.img", DATA[::-1])
    assert new != old
    status, body = bucket.raw("GET", "disk.img", {"Range": "bytes=0-99", "If-Range": f'"{old.strip(chr(34))}"'})
    assert (status, body) == (206, DATA[::-1][:100])


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """A cluster of our own, of which OSDs may die."""
    require(ceph_cluster.missing())
    with ceph_cluster.ceph(tmp_path_factory.mktemp("breakable") / "home") as cluster:
        yield cluster


def test_a_gateway_that_dies(ceph: Ceph, open_bucket: Callable[..., Bucket]) -> None:
    """A body ends early when its gateway dies, and Python's client says nothing of it: lengths must be checked."""
    bucket = open_bucket(ceph.access)
    bucket.put("big.img", BIG_DATA)
    reading = begin(ceph.gateway(1), f"/{bucket.name}/big.img")
    try:
        first = reading.response.read(1000)
        ceph.processes.kill("gateway.1")
        got = first + reading.rest()
    finally:
        reading.connection.close()
        ceph.start_gateway(1)
        ceph.until_gateway(1)
    assert 1000 <= len(got) < BIG
    assert BIG_DATA.startswith(got)


def test_an_osd_that_hangs(breakable: Ceph, open_bucket: Callable[..., Bucket]) -> None:
    """Reads wait for an OSD that hangs until the others have noticed, some seconds, and then are whole."""
    bucket = open_bucket(breakable.access)
    keys = [f"{number}.img" for number in range(24)]
    for key in keys:
        bucket.put(key, DATA[:65536])
    breakable.processes.pause("osd.1")
    began = time.monotonic()
    try:
        with ThreadPoolExecutor(len(keys)) as readers:
            bodies = list(readers.map(lambda key: bucket.get(key, 0, 65536), keys))
        waited = time.monotonic() - began
    finally:
        breakable.processes.resume("osd.1")
    assert set(bodies) == {DATA[:65536]}
    assert 1 < waited < PATIENCE
    breakable.until_osds()


def test_an_osd_that_dies(breakable: Ceph, open_bucket: Callable[..., Bucket]) -> None:
    """An OSD that dies in mid-read costs no byte: another has a copy."""
    bucket = open_bucket(breakable.access)
    bucket.put("big.img", BIG_DATA)
    reading = begin(breakable.access, f"/{bucket.name}/big.img")
    try:
        first = reading.response.read(1000)
        breakable.processes.kill("osd.0")
        got = first + reading.rest()
    finally:
        reading.connection.close()
    assert hashlib.sha256(got).digest() == hashlib.sha256(BIG_DATA).digest()


def test_a_gateway_without_a_cluster(breakable: Ceph, open_bucket: Callable[..., Bucket]) -> None:
    """A gateway whose cluster is gone takes requests and never answers: deadlines have to be the client's own."""
    bucket = open_bucket(breakable.access)
    bucket.put("disk.img", b"1")
    for name in [name for name in breakable.processes.running if name.startswith("osd.")]:
        breakable.processes.kill(name)
    client = from_url(
        bucket.access.url(bucket.name),
        client_options={"allow_http": True, "timeout": "1s"},
        retry_config={"max_retries": 0},
    )
    with pytest.raises(BaseError, match=r"(?i)time"):
        obstore.get(client, "disk.img", options={"range": (0, 1)})


def test_nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A store that has ended leaves neither a process nor a directory behind."""
    home = tmp_path_factory.mktemp("left") / "home"
    with processes(home) as started:
        started.start("sleeper", ["sh", "-c", "trap '' TERM; echo up; sleep 60"])
        started.until(lambda: started.log("sleeper").read_text() == "up\n", "the process")
        running = started.running["sleeper"]
    assert running.returncode is not None
    assert not home.exists()


def test_what_ends_early_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A process that should run and has ended ends the wait, and its log is in the message."""
    home = tmp_path_factory.mktemp("early") / "home"
    with processes(home) as started:
        started.start("broken", ["sh", "-c", "echo no such volume; exit 3"])
        with pytest.raises(StoreError, match=r"^ended while it was awaited: broken\n(.|\n)*no such volume"):
            started.until(lambda: False, "it")


def test_keys_are_not_shown() -> None:
    """What a failed test prints of a key is not its secret."""
    assert "quiet" not in repr(S3Key("access", "quiet", "region"))
