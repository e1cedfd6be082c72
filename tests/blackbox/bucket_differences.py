"""What a bucket does not have, by its nature: these tests are of directories alone."""

from __future__ import annotations

IN_PLACE = "objects are replaced, and never changed in place"
NO_PERMISSIONS = "an object has no permission bits of its own"
NO_DIRECTORIES = "a bucket has no directories: nothing is in the way of the key"
NO_MTIME_IN_TAGS = "the tag of an object comes from its tag in the store, whatever its date says"

DIRECTORY_ONLY = {
    "test_changes_in_place.py::": IN_PLACE,
    "test_streaming.py::test_truncated_while_streaming": IN_PLACE,
    "test_streaming.py::test_grown_while_streaming": IN_PLACE,
    "test_identifiers.py::test_unreadable_file_is_a_500": NO_PERMISSIONS,
    "test_catalog.py::test_manifest_that_is_no_file": NO_DIRECTORIES,
    "test_metadata.py::test_tag_of_an_mtime_that_says_nothing": NO_MTIME_IN_TAGS,
}
"""Beginnings of tests' ids, and the reason."""


def reason_to_skip(test_id: str) -> str | None:
    """Return why a test is not made over a bucket, or None."""
    name = test_id.partition("[")[0].rpartition("/")[2]
    return next((why for start, why in DIRECTORY_ONLY.items() if name.startswith(start)), None)
