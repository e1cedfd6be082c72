"""The client of object stores: obstore, its calls made once each and its errors sorted. Only this module imports it.

Its synchronous calls are made in threads of ours, which they do not hold up: they release the interpreter's lock. Its
asynchronous ones ended the interpreter at exit, in 6 of 18 runs. Its own retries are off, but for parts of uploads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from typing import Any

import attrs
import obstore
from obstore.store import AzureStore, GCSStore, S3Store
from typing_extensions import Buffer

from aero_storage.errors import SettingsError
from aero_storage.settings.origin_url import OriginUrl
from aero_storage.storage.objects.credentials_file import Credentials, CredentialsFile
from aero_storage.storage.objects.origin import ObjectStatus, Observer, Pin
from aero_storage.storage.objects.store_failures import ERROR, OK, OtherSizeError, StoreFailureError, failure_of

_Store = S3Store | GCSStore | AzureStore
_PAGE = 1000
_CONNECT_SECONDS = 5.0
_IDLE_SECONDS = 55.0  # below the 60 s after which gateways close
_PART_RETRIES = 8
_VARIABLES = {"SecretAccessKey": "AWS_SECRET_ACCESS_KEY", "AccessKeyId": "AWS_ACCESS_KEY_ID"}
_MISSING = re.compile(r"\bMissing ([A-Za-z]{1,40})\b", re.ASCII)


@attrs.frozen
class Answer:
    """Content of an object, whole or a range, and what the store said of it."""

    status: ObjectStatus
    data: Buffer = attrs.field(repr=False)


@attrs.define(eq=False)
class StoreClient:
    """Requests to one bucket, by full keys. Raises StoreFailureError; the observer is told of each request."""

    url: OriginUrl
    allow_http: bool
    observer: Observer
    clock: Callable[[], float]
    credentials: CredentialsFile | None = None
    """Where they are read if not by the client itself."""
    _key: Credentials | None = attrs.field(init=False, default=None, repr=False)
    """The one that the clients below sign with."""
    _stores: dict[tuple[float, int], _Store] = attrs.field(init=False, factory=dict, repr=False)
    _lock: Lock = attrs.field(init=False, factory=Lock, repr=False)

    def prepare(self, limit: float) -> None:
        """Make the client, as long as the variables of the store can be read. Raises SettingsError."""
        if self.credentials is not None:
            self.credentials.require()
        try:
            self._store(limit)
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            missing = _MISSING.search(str(error))
            said = f": {_VARIABLES.get(missing[1], missing[1])} is not set" if missing else ""
            raise SettingsError(f"{self.url}: the store's variables cannot be used{said}") from None

    def head(self, key: str, limit: float) -> ObjectStatus:
        """Look at an object, within `limit` seconds."""
        with self._request("head"):
            return _status(obstore.head(self._store(limit), key))

    def get(self, key: str, pin: Pin, bounds: tuple[int, int], limit: float) -> Answer:
        """Get a range, from the first offset up to the second, of a pinned object; tag and sizes are checked."""
        options: obstore.GetOptions = {"range": bounds, "if_match": pin.tag}
        if pin.version is not None:
            options["version"] = pin.version
        with self._request("get") as done:
            result = obstore.get(self._store(limit), key, options=options)
            status = _status(result.meta)
            _require(status.pin.tag == pin.tag, "another ETag than was asked for")
            _require(pin.version is None or status.pin.version in (None, pin.version), "another version")
            if pin.size not in (None, status.size):
                raise OtherSizeError
            return self._content(result, status, bounds, done)

    def get_whole(self, key: str, most: int, limit: float) -> Answer | ObjectStatus:
        """Get a whole object, or its status alone if it has over `most` bytes."""
        with self._request("get") as done:
            result = obstore.get(self._store(limit), key)
            status = _status(result.meta)
            return status if status.size > most else self._content(result, status, (0, status.size), done)

    @staticmethod
    def _content(result: obstore.GetResult, status: ObjectStatus, bounds: tuple[int, int], done: list[int]) -> Answer:
        _require(result.range == bounds, "another range than was asked for")
        length = bounds[1] - bounds[0]
        pieces = iter(result.stream(min_chunk_size=max(1, length)))  # `bytes()` would hold all that comes
        data = next(pieces, b"")
        _require(len(data) == length and next(pieces, None) is None, "a body of another length than was asked for")
        done.append(length)
        return Answer(status, data)

    def find_size(self, key: str, limit: float) -> ObjectStatus:
        """Look at an object by GET, as a proxy may answer each HEAD with a length of 0."""
        found = self.get_whole(key, 0, limit)
        return found.status if isinstance(found, Answer) else found

    def explain(self, key: str, limit: float) -> None:
        """Get one byte of an object to which HEAD was refused: answers to HEAD have no words."""
        with self._request("get"):
            obstore.get(self._store(limit), key, options={"range": (0, 1)}).bytes()

    def put(self, key: str, data: Buffer, mode: Any, limit: float) -> Pin:
        """Store an object at once; `mode` is overwrite, create, or the version that it replaces."""
        with self._request("put") as done:
            result = obstore.put(self._store(limit), key, memoryview(data), use_multipart=False, mode=mode)
            done.append(memoryview(data).nbytes)
            return _pin(result)

    def put_parts(self, key: str, pieces: Iterable[Buffer], part_bytes: int, at_once: int, limit: float) -> Pin:
        """Store an object in parts, each repeated if it fails; the upload is aborted if an error ends it."""
        with self._request("put"):
            store = self._store(limit, _PART_RETRIES)
            result = obstore.put(
                store, key, iter(pieces), use_multipart=True, chunk_size=part_bytes, max_concurrency=at_once
            )
            return _pin(result)

    def list_flat(self, prefix: str, after: str | None, limit: float) -> Iterator[list[ObjectStatus]]:
        """Yield the objects below a prefix behind the key `after`, 1,000 at a time."""
        pages = iter(obstore.list(self._store(limit), prefix or None, offset=after, chunk_size=_PAGE))
        while True:
            with self._request("list"):
                page = next(pages, None)
                if page is None:
                    return
                found = [_listed_status(meta) for meta in page]
            yield found

    def list_directory(self, prefix: str, limit: float) -> tuple[list[ObjectStatus], Sequence[str]]:
        """Return the objects and common prefixes directly below a prefix. All pages are in memory at once."""
        with self._request("list"):
            result = obstore.list_with_delimiter(self._store(limit), prefix or None)
            return [_listed_status(meta) for meta in result["objects"]], result["common_prefixes"]

    def delete(self, keys: list[str], limit: float) -> None:
        """Delete objects."""
        with self._request("delete"):
            obstore.delete(self._store(limit), keys)

    @contextmanager
    def _request(self, operation: str) -> Iterator[list[int]]:
        """Sort what a request raises, and tell the observer; the list takes the bytes that were transferred."""
        done: list[int] = []
        started, result = self.clock(), OK
        try:
            yield done
        except StoreFailureError as failure:
            result = failure.result
            raise
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            sorted_out = failure_of(error)
            result = sorted_out.result
            raise sorted_out from None  # the client's text may hold what is secret
        except BaseException:
            result = ERROR
            raise
        finally:
            self.observer.requested(operation, result, self.clock() - started, sum(done))

    def _store(self, limit: float, retries: int = 0) -> _Store:
        """Return the client whose requests end after `limit` seconds: obstore has no limit for a call."""
        key = None if self.credentials is None else self.credentials.current()
        with self._lock:
            if key != self._key:
                self._key = key
                self._stores.clear()
            if (limit, retries) not in self._stores:
                self._stores[limit, retries] = self._new_store(limit, retries)
            return self._stores[limit, retries]

    def _new_store(self, limit: float, retries: int) -> _Store:
        client: Any = {
            "allow_http": self.allow_http,
            "timeout": timedelta(seconds=limit),
            "connect_timeout": timedelta(seconds=min(limit, _CONNECT_SECONDS)),
            "pool_idle_timeout": timedelta(seconds=_IDLE_SECONDS),
        }
        # Of an upload: no try begins after `limit`, so a store that hangs ends it after one try.
        retry: Any = {"max_retries": retries, "retry_timeout": timedelta(seconds=limit)}
        given: Any = {"client_options": client, "retry_config": retry}
        bucket = self.url.bucket
        if self.url.scheme == "gs":
            return GCSStore(bucket, **given)
        if self.url.scheme == "az":
            return AzureStore(container_name=bucket, **given)
        if self._key is not None:
            given |= self._key.variables
        # The digest of what is stored is signed, whatever a variable says.
        return S3Store(bucket, unsigned_payload=False, **given)


def _status(meta: obstore.ObjectMeta) -> ObjectStatus:
    pin = attrs.evolve(_pin(meta), size=meta["size"])
    return ObjectStatus(meta["path"], meta["size"], pin, _modified_ns(meta))


def _listed_status(meta: obstore.ObjectMeta) -> ObjectStatus:
    """Return the status that a listing tells: Azure's has tags without quotes, and a tag may be left out."""
    tag = meta["e_tag"] or ""
    quoted = tag if not tag or tag.endswith('"') else f'"{tag}"'
    return ObjectStatus(meta["path"], meta["size"], Pin(quoted), _modified_ns(meta))


def _modified_ns(meta: obstore.ObjectMeta) -> int:
    """Return the time in whole seconds, as the header has it: listings tell fractions."""
    return int(meta["last_modified"].timestamp()) * 1_000_000_000


def _pin(told: Any) -> Pin:
    tag = told["e_tag"]
    _require(isinstance(tag, str) and not tag.startswith("W/"), "no ETag, or a weak one")
    return Pin(tag, told["version"])


def _require(holds: object, otherwise: str) -> None:
    if not holds:
        raise StoreFailureError(ERROR, otherwise)
