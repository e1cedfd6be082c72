"""The exceptions of this package. Those that end as a response have an HTTP status."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import ClassVar


class RefusalReason(enum.StrEnum):
    """Why a request is refused, or its response broken off: the words of `reason` in the request log (http.md §8)."""

    ROUTE = "route"
    METHOD = "method"
    ID = "id"
    LEASE = "lease"
    PLACE = "place"
    SHARE = "share"
    EXISTENCE = "existence"
    PRECONDITION = "precondition"
    RANGE_SYNTAX = "range_syntax"
    RANGE_UNIT = "range_unit"
    RANGE_UNSATISFIABLE = "range_unsatisfiable"
    RANGE_TOO_LONG = "range_too_long"
    RANGE_TOO_MANY = "range_too_many"
    CHUNK_TOO_LONG = "chunk_too_long"
    BODY = "body"
    HEAD = "head"
    TARGET = "target"
    CATALOG = "catalog"
    UNREADABLE = "unreadable"
    DESCRIPTORS = "descriptors"
    DISK = "disk"
    ORIGIN = "origin"
    WAITING_BODIES = "waiting_bodies"


StatusAndReason = tuple[int, RefusalReason]
"""How a request is refused: the status of the response, and the reason in the log."""


class AeroStorageError(Exception):
    """The base class of all exceptions of this package."""


class SettingsError(AeroStorageError):
    """A setting cannot be used; the message is one line: the fault, the origin of the value, the remedy."""


class ListenError(SettingsError):
    """An address of the settings cannot be listened at."""


class OutputError(AeroStorageError):
    """Standard output takes no text: a full disk, or a reader that has gone."""


class BusyError(AeroStorageError):
    """Another process works on the same image or directory."""


class OperatorError(AeroStorageError):
    """An operator's command cannot be carried out; the message is one line: the fault and the remedy."""


class ProxyAddressError(AeroStorageError):
    """A text is not a valid trusted proxy; the message completes "… is not"."""


class JsonError(AeroStorageError):
    """A document is not the JSON that it has to be; the message is one line that names the place."""


class CertificateError(AeroStorageError):
    """A file of an `ssl:` endpoint cannot be used: `path` and `reason`, which has nothing of a key."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class LeaseDocumentError(AeroStorageError):
    """A file of lease keys or of revocations cannot be used; the message names the place, and no secret."""


class ChunkFormatError(AeroStorageError):
    """A chunk manifest, or a chunk size for an image, breaks the rules of the chunked format (http.md §6)."""


class ClientError(AeroStorageError):
    """An error that ends as a response with the status `status`; the request log gives `reason`."""

    status: ClassVar[int]
    reason: ClassVar[RefusalReason]
    retry_after: ClassVar[int] = 1
    """Seconds that a 429 or a 503 asks the client to wait."""


class CatalogError(ClientError):
    """The catalog cannot be used; the message names the entry, the field and the reason."""

    status, reason = 500, RefusalReason.CATALOG


class CatalogUnavailableError(CatalogError):
    """There is no catalog yet, as the object store that has it does not answer."""

    status, reason, retry_after = 503, RefusalReason.ORIGIN, 5


class CatalogDeniedError(CatalogError):
    """The object store refuses to tell the catalog; the message has the operation and the store's own word."""

    status, reason = 500, RefusalReason.ORIGIN


class BlobNotFoundError(ClientError):
    """There is no such regular file below the root."""

    status, reason = 404, RefusalReason.EXISTENCE


class OtherVersionError(BlobNotFoundError):
    """The image is there, and is not of the version that is asked for."""


class BlobUnreadableError(ClientError):
    """The file exists but cannot be opened or read."""

    status, reason = 500, RefusalReason.UNREADABLE


class DescriptorsError(BlobUnreadableError):
    """The file cannot be opened now: this process or the system has no descriptor left."""

    status, reason = 503, RefusalReason.DESCRIPTORS


class DiskHangsError(BlobUnreadableError):
    """The disk did not answer within its timeout."""

    status, reason = 503, RefusalReason.DISK


class ImageChangedError(ClientError):
    """A file was changed while its extents were looked for."""

    status, reason = 503, RefusalReason.DISK


class ExtentsLateError(ClientError):
    """The extents of an image are not known in time; they are looked for meanwhile."""

    status, reason, retry_after = 503, RefusalReason.DISK, 5


class ObjectTooLargeError(BlobUnreadableError):
    """An object that is read as a document has more bytes than such a document may have."""


class OriginUnavailableError(ClientError):
    """The object store did not give a right answer within the time for it."""

    status, reason, retry_after = 503, RefusalReason.ORIGIN, 5


class OriginDeniedError(ClientError):
    """The object store refuses us: the credentials, what they allow, or the clock of this machine."""

    status, reason = 500, RefusalReason.ORIGIN


class ObjectChangedError(ClientError):
    """An object is no longer there as it was opened.

    Before the head, the request starts over once; in mid-body the connection is aborted.
    """

    status, reason = 503, RefusalReason.ORIGIN


class PreconditionFailedError(AeroStorageError):
    """An object is not in the state in which it may be replaced: somebody else has written it."""


class PreconditionUnsupportedError(AeroStorageError):
    """The object store has no conditional writes."""


class OverloadedError(ClientError):
    """No place became free within the time that a request may wait."""

    status, reason = 429, RefusalReason.PLACE


class OverdrawnError(ClientError):
    """The client has too many requests under way."""

    status, reason = 429, RefusalReason.SHARE


class LeaseOverdrawnError(ClientError):
    """The lease has too many requests for bytes under way."""

    status, reason = 429, RefusalReason.SHARE


class LeaseLimitError(ClientError):
    """The client has shown too many bad leases, or too many wait for their verification."""

    status, reason = 429, RefusalReason.LEASE


class ShortReadError(AeroStorageError):
    """A blob no longer holds the bytes that its headers promised."""


class FileChangedError(ShortReadError):
    """The file `name`, as the log calls it, was changed in place after it was opened."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: the file has changed")
        self.name = name
