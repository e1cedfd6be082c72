"""Which tests of this suite are not made over a bucket: some cannot be, and others would show nothing more."""

from __future__ import annotations

import os

REAL_STORE = os.environ.get("BLACKBOX_STORE", "")
"""`ceph` or `seaweedfs`; else the tests' own store."""

IN_PLACE = "objects are replaced, and never changed in place"
NO_PERMISSIONS = "an object has no permission bits of its own"
NO_DIRECTORIES = "a bucket has no directories: nothing is in the way of the key"
NO_LINKS = "a bucket has no links, and other words for what is missing: test_object_store.py has them"
NO_MTIME_IN_TAGS = "the tag of an object comes from its tag in the store, whatever its date says"

OWN_DATES = "a real store gives an object the date of its upload"
TOO_LARGE = "images over 64 MiB are not uploaded to a real store"

NO_BYTES = "it asks for no bytes of an image"
ACCEPTING = "it is about who accepts connections; a bucket is behind that"
HEADS = "it is about heads of requests and responses, which are made before a store is asked"
OWN_BUCKET = "it has buckets of its own"

LEFT_OUT = {
    "absent_workers": ACCEPTING,
    "bucket_processes": OWN_BUCKET,
    "certificate_renewal": ACCEPTING,
    "changes_in_place": IN_PLACE,
    "concurrency_limit": "places are given before a store is asked; CI makes it once",
    "connection_cap": ACCEPTING,
    "connections": ACCEPTING,
    "cors": HEADS,
    "express_equivalence": "what is remembered of a request is the same over both kinds of roots",
    "fast_ranges": "over a bucket no range is answered so",
    "forwarded": HEADS,
    "framing": HEADS,
    "lease_express": "what is remembered of a request is the same over both kinds of roots",
    "lease_files": "they are local files over both kinds of roots",
    "lease_limits": "tokens are verified before a store is asked",
    "logs": "lines are made from the request; test_object_store.py has the fields that a bucket adds",
    "made_bodies": NO_BYTES,
    "metrics": "test_object_store.py has the metrics that a bucket adds",
    "object_store": OWN_BUCKET,
    "preloaded_process": "how daemons of the tests are started",
    "real_store": OWN_BUCKET,
    "service_manager": ACCEPTING,
    "settings": NO_BYTES,
    "worker_shutdown": "test_bucket_processes.py stops workers beside a store that hangs",
    "worker_sockets": "a socket is passed before a store is asked; CI makes it once",
    "workers": "test_bucket_processes.py has workers with one cache; CI makes it once",
}
"""Modules that `make contract` leaves out. Those that no word of a bucket keeps out pass over one; they take time."""

DIRECTORY_ONLY = {
    "test_changes_in_place.py::": IN_PLACE,
    "test_streaming.py::test_truncated_while_streaming": IN_PLACE,
    "test_identifiers.py::test_unreadable_file_is_a_500": NO_PERMISSIONS,
    "test_catalog.py::test_manifest_that_is_no_file": NO_DIRECTORIES,
    "test_metadata.py::test_tag_of_an_mtime_that_says_nothing": NO_MTIME_IN_TAGS,
    "test_shutdown_and_stalls.py::test_a_client_of_a_unix_socket_that_stops_near_the_end": IN_PLACE,
    "test_reload.py::test_entries_that_cannot_be_served": NO_LINKS,
    "test_ranges.py::test_no_last_modified_before_the_epoch": NO_MTIME_IN_TAGS,
}
"""Beginnings of tests' ids, and the reason."""

OWN_STORE_ONLY = {
    "test_metadata.py::test_last_modified_of_the_file": OWN_DATES,
    "test_metadata.py::test_plain_metadata": OWN_DATES,
    "test_virtual_chunks.py::test_dates": OWN_DATES,
    "test_metadata.py::test_fields": OWN_DATES,
    "test_metadata.py::test_list_holds_the_catalog_in_its_order": TOO_LARGE,
    "test_metadata.py::test_tag_of_meta_is_the_image_s_own": TOO_LARGE,
    "test_ranges.py::test_big_image": TOO_LARGE,
    "test_ranges.py::test_head_of_the_big_image": TOO_LARGE,
    "test_ranges.py::test_headers_of_errors": TOO_LARGE,
    "test_ranges.py::test_limit_of_8_mib": TOO_LARGE,
}
"""The same for tests that run over the tests' own store, which keeps dates and has sparse images."""


_DATES = ("13 Sep 2020", "Last-Modified")


def reason_to_skip(test_id: str, parameters: str = "") -> str | None:
    """Return why a test with these parameters, in words, is not made over a bucket, or None."""
    name = test_id.partition("[")[0].rpartition("/")[2]
    table = DIRECTORY_ONLY | (OWN_STORE_ONLY if REAL_STORE else {})
    if REAL_STORE and any(date in parameters for date in _DATES):
        return OWN_DATES
    if REAL_STORE and "'big'" in parameters:
        return TOO_LARGE
    return next((why for start, why in table.items() if name.startswith(start)), None)
