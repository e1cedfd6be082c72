"""The exceptions of this package. Those that end as a response have an HTTP status."""

from __future__ import annotations

from typing import ClassVar


class AeroStorageError(Exception):
    """The base class of all exceptions of this package."""


class SettingsError(AeroStorageError):
    """A setting cannot be used; the message is one line: the fault, the origin of the value, the remedy."""


class BusyError(AeroStorageError):
    """Another process works on the same image or directory."""


class OperatorError(AeroStorageError):
    """An operator's command cannot be carried out; the message is one line: the fault and the remedy."""


class ProxyAddressError(AeroStorageError):
    """A text is not a valid trusted proxy; the message completes "… is not"."""


class JsonError(AeroStorageError):
    """A document is not the JSON that it has to be; the message is one line that names the place."""


class ChunkFormatError(AeroStorageError):
    """A chunk manifest, or a chunk size for an image, breaks the rules of the chunked format (http.md §6)."""


class ClientError(AeroStorageError):
    """An error that ends as a response with the status `status`."""

    status: ClassVar[int] = 500


class CatalogError(ClientError):
    """The catalog cannot be used; the message names the entry, the field and the reason."""

    status = 500


class BlobNotFoundError(ClientError):
    """There is no such regular file below the root."""

    status = 404


class BlobUnreadableError(ClientError):
    """The file exists but cannot be opened or read."""

    status = 500


class DescriptorsError(BlobUnreadableError):
    """The file cannot be opened now: this process or the system has no descriptor left."""

    status = 503


class DiskHangsError(BlobUnreadableError):
    """The disk did not answer within its timeout."""

    status = 503


class OverloadedError(ClientError):
    """No place became free within the time that a request may wait."""

    status = 429


class ShortReadError(AeroStorageError):
    """A blob no longer holds the bytes that its headers promised."""


class FileChangedError(ShortReadError):
    """A file was changed in place after it was opened."""
