"""What `fstat` says of a file, and the validators that come of it."""

from __future__ import annotations

import pytest

from aero_storage.storage.local.file_status import file_status


@pytest.mark.parametrize(
    ("size", "mtime_ns", "etag", "last_modified"),
    [
        (0, 0, '"0-0-0-1-2-a0"', None),
        (255, 16_000_000_010, '"ff-10-a"', 16_000_000_010),
        (20 * 2**30, 1_700_000_000_999_999_999, '"500000000-6553f100-3b9ac9ff"', 1_700_000_000_999_999_999),
        (16, 1_000_000_000, '"10-0-0-1-2-a0"', None),
        (16, 315_532_800_000_000_000, '"10-0-0-1-2-a0"', None),
        (16, -5_000_000_001, '"10-0-0-1-2-a0"', None),
    ],
)
def test_validators(size: int, mtime_ns: int, etag: str, last_modified: int | None) -> None:
    """The tag has size and mtime; an mtime that says nothing gives no date, and puts ctime and inode into the tag."""
    validators = file_status(size, mtime_ns, 1_000_000_002, 160).validators
    assert (validators.etag, validators.last_modified) == (etag, last_modified)
