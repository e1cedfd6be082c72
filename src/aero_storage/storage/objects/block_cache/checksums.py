"""XXH3-64, the checksum of blocks: 42 µs a MiB. It comes with the extra `aero-storage[object]`."""

from __future__ import annotations

from typing_extensions import Buffer

from aero_storage.errors import SettingsError

try:
    from xxhash import xxh3_64_intdigest as _digest
except ModuleNotFoundError:  # the daemon serves directories without it

    def _digest(data: Buffer, seed: int = 0) -> int:  # noqa: ARG001 - as the package has it
        raise SettingsError("the block cache needs its checksums: pip install 'aero-storage[object]'")


def xxh3_64(data: Buffer, seed: int = 0) -> int:
    """Return the checksum of `data`. Raises SettingsError without the extra."""
    return int(_digest(data, seed))
