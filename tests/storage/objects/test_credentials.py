"""Credentials that lapse and are renewed: a client that runs goes on with the new ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import attrs
import pytest
from tests.blackbox.harness import until
from tests.object_store.buckets import Bucket, Quirks
from tests.object_store.server import ObjectStore

from aero_storage.errors import OriginDeniedError, SettingsError
from aero_storage.settings.origin_url import parse_origin_url
from aero_storage.storage.objects.credentials_file import Credentials, CredentialsFile
from aero_storage.storage.objects.opening import open_origin
from aero_storage.storage.objects.origin import Origin

S3 = parse_origin_url("s3://images")
SECRET = "zqSecretOfTheTestsOnly"


def profile(key: str, name: str = "default", token: str = "") -> str:
    more = f"aws_session_token={token}\n" if token else ""
    return f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key={SECRET}\n{more}"


def renew(path: Path, text: str) -> None:
    """Replace a file at one moment, as Kubernetes and Vault do."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, store: ObjectStore, tmp_path: Path) -> Path:
    """Name a file with the key `first` in place of a key in the variables."""
    path = tmp_path / "credentials"
    path.write_text(profile("first"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    accept(store.bucket("images", Quirks()), "first")
    return path


def accept(bucket: Bucket, key: str) -> None:
    bucket.put("a.img", b"12345")
    bucket.quirks = attrs.evolve(bucket.quirks, accepted_key=key)


def opened(store: ObjectStore, file: Path, **more: str) -> Origin:
    return open_origin(
        S3, {"AWS_ENDPOINT_URL": store.endpoint, "AWS_SHARED_CREDENTIALS_FILE": str(file), **more}, 5.0
    )


def test_renewed(store: ObjectStore, file: Path) -> None:
    """A key that has lapsed is refused until its file has a new one: the next request is signed with that."""
    origin, bucket = opened(store, file), store.bucket("images")
    assert origin.head("a.img").size == 5
    accept(bucket, "second")
    with pytest.raises(OriginDeniedError):
        origin.head("a.img")
    renew(file, profile("second", token="a-token"))
    assert origin.head("a.img").size == 5
    assert store.requests[-1].headers["x-amz-security-token"] == "a-token"
    renew(file, profile("second"))
    assert origin.head("a.img").size == 5
    assert "x-amz-security-token" not in store.requests[-1].headers


@pytest.mark.parametrize("text", ["", "[default]\naws_access_key_id=second\n", "not an ini file", "[other]\n", None])
def test_file_that_is_half_written(store: ObjectStore, file: Path, text: str | None) -> None:
    """While the file has no key, or is gone, the last one goes on to be used."""
    origin = opened(store, file)
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    assert origin.head("a.img").size == 5
    renew(file, profile("third"))
    accept(store.bucket("images"), "third")
    assert origin.head("a.img").size == 5


def test_profile(store: ObjectStore, file: Path) -> None:
    """A variable names the profile."""
    file.write_text(profile("other") + profile("first", "mine") + profile("last", "z"))
    assert opened(store, file, AWS_PROFILE="mine").head("a.img").size == 5


@pytest.mark.parametrize("text", ["", profile("x", "other"), f"[default]\naws_secret_access_key={SECRET}", None])
def test_no_key_at_the_start(store: ObjectStore, file: Path, text: str | None) -> None:
    """A file without a key is an error of the start, in one line without anything of the file."""
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(SettingsError, match=r"^variable AWS_SHARED_CREDENTIALS_FILE: ") as caught:
        opened(store, file)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_comes_first() -> None:
    """A key in the variables comes first; other stores have no such file; no secret is in a repr."""
    given = {"AWS_SHARED_CREDENTIALS_FILE": "/x"}
    assert CredentialsFile.of("s3", {**given, "AWS_ACCESS_KEY_ID": "x"}) is None
    assert CredentialsFile.of("gs", given) is None
    assert CredentialsFile.of("s3", given) is not None
    assert SECRET not in repr(Credentials("x", SECRET, SECRET))


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch, store: ObjectStore, tmp_path: Path) -> Iterator[list[str]]:
    """Serve credentials that are about to lapse, as an agent beside a container does; yields the keys it gave."""
    given: list[str] = []

    class Agent(BaseHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            given.append(f"key{len(given)}")
            expires = (datetime.now(UTC) + timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
            key = {"AccessKeyId": given[-1], "SecretAccessKey": "s", "Token": "t", "Expiration": expires}
            body = json.dumps(key).encode("ascii")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Agent)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    (tmp_path / "token").write_text("a-token")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    store.bucket("images", Quirks()).put("a.img", b"12345")
    yield given
    server.shutdown()
    thread.join()
    server.server_close()


def test_credentials_of_a_container(store: ObjectStore, container: list[str]) -> None:
    """Credentials of a container are asked for anew before they lapse."""
    environ = {"AWS_ENDPOINT_URL": store.endpoint, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "named"}
    origin = open_origin(S3, environ, 5.0)

    def is_renewed() -> bool:
        origin.head("a.img")
        return "Credential=key1/" in store.requests[-1].headers["authorization"]

    assert until(is_renewed, 10)
    assert container[0] == "key0"
