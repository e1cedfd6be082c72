"""Three daemons with a cache each over one bucket, and nginx in front: what clients see of a change and of a kill."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import ssl
import threading
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.clients.nginx_proxy import until
from tests.object_store.server import ObjectStore

from aero_storage.doctor.http_client import HttpClient
from aero_storage.doctor.result import Severity
from aero_storage.doctor.runner import run_checks
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.clients.nginx_proxy import Curl
    from tests.object_store.buckets import Bucket

    Start = Callable[..., tuple[str, int, Path]]
    StartNginx = Callable[..., tuple[Curl, int]]

MIB = 1 << 20
REFRESH = 1.0
IMAGES = {f"image-{number}": random.Random(number).randbytes(3 * MIB + 512 * number) for number in range(9)}
CLIENTS, WISHES = 9, 60
"""Clients, and what each wants to read: small ranges, and whole images."""
BYTES_PER_SECOND = 16 * MIB
PATIENCE = 60.0


def catalog(*image_ids: str) -> bytes:
    entries = [{"id": one, "file": f"{one}.img", "name": one, "public": True} for one in image_ids]
    return json.dumps(entries).encode()


def fill(bucket: Bucket, salt: bytes = b"") -> None:
    for image_id, data in IMAGES.items():
        bucket.put(f"root/{image_id}.img", data + salt)
    bucket.put("root/manifest.json", catalog(*IMAGES))


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    """A store with one bucket for all replicas."""
    with ObjectStore() as running:
        fill(running.bucket("replicas"))
        yield running


@attrs.frozen
class Replica:
    """One of the daemons."""

    url: str
    process_id: int
    log: Path
    cache: Path

    def ask(self, method: str, target: str) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)) as connection:
            connection.request(method, target)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def is_sending(self) -> bool:
        said = self.ask("GET", "/metrics")[2].decode().splitlines()
        return (
            float(next(line.split()[1] for line in said if line.startswith("aero_storage_requests_in_flight "))) > 1
        )

    def has_answered(self, request_id: str) -> bool:
        return f'"{request_id}"' in self.log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def start_replica(
    start_daemon: Start, store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Replica]:
    """Give a function that starts a daemon over a bucket, with a cache of its own or one that is there."""

    def start(bucket: str = "replicas", cache: Path | None = None, block_bytes: int = 65_536) -> Replica:
        place = cache or tmp_path_factory.mktemp("replica") / "cache"
        caching = ("--cache-dir", str(place), "--cache-block-bytes", str(block_bytes))
        times = ("--origin-refresh-secs", str(REFRESH), "--trusted-proxy", "127.0.0.1")
        own = ("--virtual-chunks", "--max-bytes-per-second", str(BYTES_PER_SECOND))
        given = (*caching, *times, *own)
        return Replica(*start_daemon(f"s3://{bucket}/root", *given, variables=store.environ), place)

    return start


@attrs.frozen
class Cluster:
    """The replicas, and the port of nginx in front of them."""

    replicas: list[Replica]
    port: int


@pytest.fixture(scope="module")
def cluster(start_replica: Callable[..., Replica], start_nginx: StartNginx) -> Cluster:
    """Three replicas behind nginx, one of them with larger blocks: an operator changes one after the other."""
    return behind_nginx([start_replica(block_bytes=size) for size in (65_536, 65_536, MIB)], start_nginx)


def behind_nginx(replicas: list[Replica], start_nginx: StartNginx) -> Cluster:
    curl, _ = start_nginx("aero-storage-replicas.conf", *(one.url.removeprefix("http://") for one in replicas))
    return Cluster(replicas, int(curl.address.rpartition(":")[2]))


def examine(port: int) -> dict[str, Severity]:
    """Run the doctor against nginx; the verdicts on replicas."""
    target = Target("https", "127.0.0.1", port)
    with closing(
        HttpClient(target, insecure=True, pause=lambda seconds: time.sleep(min(seconds, REFRESH)))
    ) as client:
        report = run_checks(Session(client, "image-0"))
    return {one.check: one.result.severity for one in report.results if one.check.startswith("replica-")}


def test_tags_and_versions(cluster: Cluster) -> None:
    """Tags, dates and chunk versions are equal on all replicas."""
    targets = [f"/v1/images/{one}{below}" for one in IMAGES for below in ("", "/meta", "/chunked/manifest.json")]
    for target in ("/v1/images", *targets):
        told = [replica.ask("HEAD", target) for replica in cluster.replicas]
        assert {status for status, _, _ in told} == {200}
        assert len({(headers["etag"], headers.get("last-modified")) for _, headers, _ in told}) == 1, target
    manifests = [replica.ask("GET", "/v1/images/image-1/chunked/manifest.json")[2] for replica in cluster.replicas]
    assert len({json.loads(manifest)["version"] for manifest in manifests}) == 1


def test_doctor_is_content(cluster: Cluster) -> None:
    """The doctor finds replicas of one bucket in agreement."""
    assert examine(cluster.port) == {"replica-tags": Severity.PASS, "replica-versions": Severity.PASS}


def test_doctor_sees_another_bucket(
    start_replica: Callable[..., Replica], start_nginx: StartNginx, store: ObjectStore
) -> None:
    """Replicas that serve buckets with other bytes are found, though nginx sends each image to one replica."""
    replicas = []
    for number in range(3):
        fill(store.bucket(f"other-{number}"), bytes(512 * number))
        replicas.append(start_replica(f"other-{number}"))
    assert examine(behind_nginx(replicas, start_nginx).port)["replica-tags"] is Severity.FAILURE


def test_a_change_shows_on_all(cluster: Cluster, store: ObjectStore) -> None:
    """A changed catalog and a replaced object show on every replica within `--origin-refresh-secs` and a second."""
    bucket = store.bucket("replicas")
    bucket.put("root/new.img", b"first")
    bucket.put("root/manifest.json", catalog(*IMAGES, "new"))
    deadline = time.monotonic() + REFRESH + 1
    until(lambda: all(one.ask("GET", "/v1/images/new")[2] == b"first" for one in cluster.replicas), "new image")
    assert time.monotonic() < deadline
    bucket.put("root/new.img", b"second")
    deadline = time.monotonic() + REFRESH + 1
    until(lambda: all(one.ask("GET", "/v1/images/new")[2] == b"second" for one in cluster.replicas), "new bytes")
    assert time.monotonic() < deadline
    assert len({one.ask("HEAD", "/v1/images/new")[1]["etag"] for one in cluster.replicas}) == 1


@attrs.define
class Reader:
    """A client of nginx that checks every byte, and asks for the rest of a body that broke off, by its tag."""

    port: int
    seed: int
    seen: Counter[str] = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)
    served: int = 0
    _connection: http.client.HTTPSConnection | None = None

    def run(self) -> None:
        chance = random.Random(self.seed)
        try:
            for wish in range(WISHES):
                image_id = f"image-{self.seed}"
                size = len(IMAGES[image_id])
                start = 0 if wish % 4 == 0 else chance.randrange(size - 4096)
                self._read(image_id, start, size if wish % 4 == 0 else start + chance.randrange(1, 4096))
                self.served += 1
        except BaseException as error:
            self.wrong.append(repr(error))
            raise
        finally:
            self._close()

    def _read(self, image_id: str, start: int, end: int) -> None:
        deadline, tag = time.monotonic() + PATIENCE, ""
        while start < end and not self.wrong:
            assert time.monotonic() < deadline, f"{image_id} from {start} does not come"
            got, tag = self._once(image_id, start, end, tag)
            start += got

    def _once(self, image_id: str, start: int, end: int, tag: str) -> tuple[int, str]:
        """Ask once; return how many bytes came, all of them right, and the tag."""
        fields = {"Range": f"bytes={start}-{end - 1}"} | ({"If-Range": tag} if tag else {})
        try:
            self._connection = self._connection or self._dial()
            self._connection.request("GET", f"/v1/images/{image_id}", headers=fields)
            answer = self._connection.getresponse()
            body = self._body(answer)
        except (OSError, http.client.HTTPException) as error:
            self.seen[type(error).__name__] += 1
            self._close()
            return 0, tag
        self.seen[str(answer.status)] += 1
        if answer.status != 206:
            self._close()
            return 0, tag
        self._check(answer, image_id, body, start, end)
        return len(body), answer.headers["ETag"]

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        """Return the body, or what there is of it if it broke off, which its length tells."""
        try:
            return answer.read()
        except http.client.IncompleteRead as error:
            body = error.partial
        except ssl.SSLEOFError:
            body = b""
        self.seen["broken off"] += 1
        self._close()
        return body

    def _check(self, answer: http.client.HTTPResponse, image_id: str, body: bytes, start: int, end: int) -> None:
        data = IMAGES[image_id]
        if answer.headers.get("Content-Range") != f"bytes {start}-{end - 1}/{len(data)}":
            self.wrong.append(f"{image_id}: {answer.headers.get('Content-Range')}")
        if answer.headers.get("Content-Length") != str(end - start):
            self.wrong.append(f"{image_id}: a body without its length could end short: {answer.headers}")
        if body != data[start : start + len(body)]:
            self.wrong.append(f"{image_id}: other bytes from {start}")

    def _dial(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=context)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def home_of(cluster: Cluster, image_id: str) -> Replica:
    """Return the replica to which nginx sends the requests for an image."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    mark = f"home-of-{image_id}"
    with closing(http.client.HTTPSConnection("127.0.0.1", cluster.port, timeout=10, context=context)) as connection:
        connection.request("HEAD", f"/v1/images/{image_id}", headers={"X-Request-Id": mark})
        assert connection.getresponse().status == 200
    return until(lambda: [one for one in cluster.replicas if one.has_answered(mark)], mark)[0]


@attrs.frozen
class Load:
    """Clients of nginx, one for each image."""

    readers: list[Reader]
    threads: list[threading.Thread]

    @classmethod
    def begin(cls, cluster: Cluster, victim: Replica) -> Load:
        """Begin, and return when the victim is sending."""
        readers = [Reader(cluster.port, number) for number in range(CLIENTS)]
        load = cls(readers, [threading.Thread(target=reader.run) for reader in readers])
        for thread in load.threads:
            thread.start()
        until(lambda: readers[0].served >= WISHES // 3, "load")
        until(lambda: readers[0].served % 4 == 0 and victim.is_sending(), "a whole image under way")
        return load

    def wait(self, numbers: Iterable[int]) -> None:
        """Wait until some clients are done."""
        for number in numbers:
            self.threads[number].join(PATIENCE)
            assert not self.threads[number].is_alive()

    def end(self) -> Counter[str]:
        """Wait until all have what they wanted, byte for byte; return how their requests ended."""
        self.wait(range(CLIENTS))
        seen = sum((reader.seen for reader in self.readers), Counter[str]())
        assert [reader.wrong for reader in self.readers if reader.wrong] == []
        assert all(reader.served == WISHES for reader in self.readers)
        return seen


def is_complete(replica: Replica) -> bool:
    return all(replica.ask("GET", f"/v1/images/{image_id}")[2] == data for image_id, data in IMAGES.items())


def test_one_stopped_under_load(cluster: Cluster) -> None:
    """A replica that hangs (SIGSTOP) holds up nobody else's images; its own clients get all when it goes on."""
    homes = [home_of(cluster, f"image-{number}") for number in range(CLIENTS)]
    victim = homes[0]
    load = Load.begin(cluster, victim)
    os.kill(victim.process_id, signal.SIGSTOP)
    try:
        load.wait(number for number, home in enumerate(homes) if home is not victim)
        assert load.threads[0].is_alive()
    finally:
        os.kill(victim.process_id, signal.SIGCONT)
    seen = load.end()
    assert {name for name in seen if name.isdigit()} == {"206"}, seen
    assert is_complete(victim)


def test_one_killed_under_load(
    cluster: Cluster, start_replica: Callable[..., Replica]
) -> None:  # the last: one replica is gone afterwards
    """A replica that is killed costs its clients a repeat: no byte is wrong, and all that was asked for comes."""
    victim = home_of(cluster, "image-0")
    load = Load.begin(cluster, victim)
    os.kill(victim.process_id, signal.SIGKILL)
    seen = load.end()
    assert {name for name in seen if name.isdigit()} == {"206"}, seen
    assert seen["broken off"] + sum(count for name, count in seen.items() if "Err" in name or "Dis" in name) > 0, seen
    assert is_complete(start_replica("replicas", victim.cache))
