"""One bucket of a real store, in which every daemon has a prefix of its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import obstore
from attrs import frozen
from obstore.store import S3Store

if TYPE_CHECKING:
    from tools.stores.access import S3Access

_NAME = "contract"


@frozen
class RealBucket:
    """The objects below a prefix. They have the date of their upload."""

    _store: S3Store
    _prefix: str

    def put(self, key: str, data: bytes, **_more: Any) -> None:
        """Store an object in one request, so that its tag is the MD5 of the content."""
        obstore.put(self._store, f"{self._prefix}/{key}", data, use_multipart=False)

    def put_mapped(self, key: str, *_more: Any) -> None:
        """Leave an object out that is larger than the memory of the store."""

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, f"{self._prefix}/{key}")


@frozen
class RealStore:
    """A store that runs."""

    environ: dict[str, str]
    _store: S3Store

    def mirrored(self, name: str) -> tuple[str, RealBucket]:
        """Return the URL of a prefix, and what is below it."""
        return f"s3://{_NAME}/{name}", RealBucket(self._store, name)


def real_store(access: S3Access) -> RealStore:
    """Make the bucket."""
    access.make_bucket(_NAME)
    key, options = access.key, {"allow_http": True}
    named = {"access_key_id": key.access, "secret_access_key": key.secret, "region": key.region}
    return RealStore(access.environment, S3Store(_NAME, endpoint=access.endpoint, client_options=options, **named))  # type: ignore[arg-type]
