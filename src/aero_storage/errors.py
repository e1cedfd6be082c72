"""Every error of ours. Those that a client may see carry the HTTP status that tells it."""

from __future__ import annotations

from typing import ClassVar


class AeroStorageError(Exception):
    """The root of all errors that this package raises on purpose."""


class SettingsError(AeroStorageError):
    """A setting cannot be used; the message is one line: what is wrong, where from, how to mend it."""


class BusyError(AeroStorageError):
    """Another process is at work on the same thing."""


class OperatorError(AeroStorageError):
    """What the operator asked for cannot be done; the message is one line: what is wrong, and how to mend it."""


class ProxyAddressError(AeroStorageError):
    """A text names no proxies to trust; the message completes "… is not"."""


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
    """There is no such regular file under the root."""

    status = 404


class BlobUnreadableError(ClientError):
    """The file is there but cannot be opened or read."""

    status = 500


class DescriptorsError(BlobUnreadableError):
    """The file cannot be opened now: this process, or the system, has no descriptor left."""

    status = 503


class DiskHangsError(BlobUnreadableError):
    """The disk has not answered for so long that nobody should wait for it."""

    status = 503


class OverloadedError(ClientError):
    """All places under the cap stayed taken for as long as a request may wait."""

    status = 429


class ShortReadError(AeroStorageError):
    """A blob no longer holds the bytes that its headers promised."""
