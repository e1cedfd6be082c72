"""What opening an origin needs: the extra, and the store's own variables."""

from __future__ import annotations

import sys

import pytest
from tests.object_store.server import ObjectStore

from aero_storage.errors import SettingsError
from aero_storage.settings.origin_url import OriginUrl, parse_origin_url
from aero_storage.storage.objects.opening import EXTRA, open_origin
from aero_storage.storage.objects.store_variables import check_credentials, endpoint_of

S3 = OriginUrl("s3", "images", "")


def test_opened(store: ObjectStore) -> None:
    """With the store's variables a bucket is there; an endpoint with http:// needs no further one."""
    store.bucket().put("a.img", b"12345")
    origin = open_origin(S3, store.environ, 20.0)
    assert origin.head("a.img").size == 5
    assert (origin.name, origin.identity) == ("s3://images", f"{store.endpoint} s3://images")


def test_anonymous(monkeypatch: pytest.MonkeyPatch, store: ObjectStore) -> None:
    """Without credentials a variable says that none are meant; requests are not signed then."""
    for name in store.environ.keys() - {"AWS_ENDPOINT_URL"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    store.bucket().put("a.img", b"12345")
    environ = {"AWS_ENDPOINT_URL": store.endpoint, "AWS_SKIP_SIGNATURE": "true"}
    assert open_origin(S3, environ, 20.0).head("a.img").size == 5
    assert "authorization" not in store.requests[-1].headers


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, store: ObjectStore) -> None:
    """Where the client is not installed, one line names the extra that brings it."""
    for name in [*sys.modules]:
        if name.partition(".")[0] == "obstore" or name.endswith((".obstore_origin", ".store_client")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(SettingsError) as caught:
        open_origin(S3, store.environ, 20.0)
    assert str(caught.value) == f"s3://images needs the client of object stores: pip install '{EXTRA}'"


@pytest.mark.parametrize(
    ("scheme", "environ"),
    [
        ("s3", {"AWS_ACCESS_KEY_ID": "x"}),
        ("s3", {"AWS_SKIP_SIGNATURE": "TRUE"}),
        ("s3", {"AWS_SHARED_CREDENTIALS_FILE": "/run/x"}),
        ("s3", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/run/x"}),
        ("s3", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2/x"}),
        ("s3", {"AWS_METADATA_ENDPOINT": "http://169.254.169.254"}),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "/run/x"}),
        ("gs", {"GCE_METADATA_HOST": "metadata.google.internal"}),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_SAS_TOKEN": "x"}),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_MSI_ENDPOINT": "http://x"}),
        ("az", {"AZURE_STORAGE_USE_EMULATOR": "true"}),
    ],
)
def test_credentials(scheme: str, environ: dict[str, str]) -> None:
    """Credentials, or a place to ask for them, are known by the store's variables."""
    check_credentials(scheme, environ)


@pytest.mark.parametrize(
    ("scheme", "environ", "named"),
    [
        ("s3", {}, ["AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE=true", "AWS_METADATA_ENDPOINT"]),
        ("s3", {"AWS_SKIP_SIGNATURE": "false", "AWS_ACCESS_KEY_ID": ""}, ["AWS_ACCESS_KEY_ID"]),
        ("gs", {}, ["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SKIP_SIGNATURE=true", "GCE_METADATA_HOST"]),
        ("az", {}, ["AZURE_STORAGE_ACCOUNT_NAME"]),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "a"}, ["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_SKIP_SIGNATURE=true"]),
    ],
)
def test_no_credentials(scheme: str, environ: dict[str, str], named: list[str]) -> None:
    """Without any, nothing is asked of an address that a cloud may have: one line names the variables."""
    with pytest.raises(SettingsError) as caught:
        check_credentials(scheme, environ)
    assert [name for name in named if name not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("scheme", "environ", "text", "allow_http"),
    [
        ("s3", {}, "https://s3.amazonaws.com", False),
        ("s3", {"AWS_ENDPOINT_URL": "http://Host:9000/"}, "http://host:9000", True),
        ("s3", {"AWS_ENDPOINT": "https://[::1]:1/p"}, "https://[::1]:1/p", False),
        ("s3", {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "https://b"}, "https://b", False),
        ("gs", {}, "https://storage.googleapis.com", False),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "acc"}, "https://blob.core.windows.net acc", False),
        ("az", {"AZURE_STORAGE_USE_EMULATOR": "1"}, "http://127.0.0.1:10000/devstoreaccount1", True),
    ],
)
def test_endpoint(scheme: str, environ: dict[str, str], text: str, allow_http: bool) -> None:  # noqa: FBT001 - a column
    """The endpoint is that of the strongest variable; without TLS only if that says so."""
    endpoint = endpoint_of(scheme, environ)
    assert (endpoint.text, endpoint.allow_http) == (text, allow_http)


@pytest.mark.parametrize(
    "text", ["host:9000", "ftp://x", "http://", "http://u@h", "http://h:x", "http://h?x", "http://h#x"]
)
def test_wrong_endpoints(text: str) -> None:
    """What is no endpoint, or has credentials in it, is refused by the name of its variable."""
    with pytest.raises(SettingsError, match=r"^variable AWS_ENDPOINT_URL: the value \(not shown\) is not http://"):
        endpoint_of("s3", {"AWS_ENDPOINT_URL": text})


def test_nothing_is_asked(store: ObjectStore) -> None:
    """Opening asks nothing of the store: it may be away when a daemon starts."""
    open_origin(parse_origin_url("s3://images/prefix"), store.environ, 20.0)
    assert store.requests == []
