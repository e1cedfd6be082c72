"""How clients reach a store: what its three kinds have in common."""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

import attrs
from tools.stores.processes import StoreError
from tools.stores.signing import AzureKey, S3Key, send

VERSIONING = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


class Access(Protocol):
    """What a client needs to know of a store."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that clients of such stores read."""

    def url(self, bucket: str) -> str:
        """Return the URL of a bucket as `--images-root` takes it."""

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket, or a container, that is not there yet."""


@attrs.frozen
class S3Access:
    """A store that speaks S3."""

    endpoint: str
    key: S3Key

    @property
    def environment(self) -> dict[str, str]:
        """The variables of every client of S3; none of them may ask the metadata service of a cloud."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key.access,
            "AWS_SECRET_ACCESS_KEY": self.key.secret,
            "AWS_REGION": self.key.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def url(self, bucket: str) -> str:
        """Return `s3://bucket`."""
        return f"s3://{bucket}"

    def make_bucket(self, bucket: str, *, versioned: bool = False) -> None:
        """Make a bucket; a versioned one keeps what is replaced."""
        self._put(f"{self.endpoint}/{bucket}")
        if versioned:
            self._put(f"{self.endpoint}/{bucket}?versioning=", VERSIONING)

    def _put(self, url: str, body: bytes = b"") -> None:
        answer = send("PUT", url, self.key.headers("PUT", url), body)
        if answer.status != HTTPStatus.OK:
            raise StoreError(f"PUT {url} was answered {answer.status}: {answer.body!r}")


@attrs.frozen
class AzureAccess:
    """A store that speaks Azure Blob, at an address that has the account in its path, as an emulator's has."""

    endpoint: str
    key: AzureKey

    @property
    def environment(self) -> dict[str, str]:
        """The variables that obstore reads."""
        return {
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
            "AZURE_STORAGE_ACCOUNT_NAME": self.key.account,
            "AZURE_STORAGE_ACCOUNT_KEY": self.key.secret,
        }

    def url(self, bucket: str) -> str:
        """Return `az://container`."""
        return f"az://{bucket}"

    def make_bucket(self, bucket: str) -> None:
        """Make a container."""
        url = f"{self.endpoint}/{bucket}?restype=container"
        answer = send("PUT", url, self.key.headers("PUT", url))
        if answer.status != HTTPStatus.CREATED:
            raise StoreError(f"PUT {url} was answered {answer.status}: {answer.body!r}")
