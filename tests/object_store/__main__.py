"""Runs a store as a process: prints its variables as JSON, serves until its standard input ends.

`python -m tests.object_store --object disk.img=67108864` has an object of that many random bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys

from tests.object_store.buckets import Quirks
from tests.object_store.server import ObjectStore

_PIECE = 1 << 26
"""More than four such pieces are more bits than `randbytes` can have."""


def content(key: str, size: int) -> bytes:
    """Return random bytes that follow from the key."""
    rng = random.Random(key)
    return b"".join(rng.randbytes(min(_PIECE, size - start)) for start in range(0, size, _PIECE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bucket", default="images")
    parser.add_argument("--object", action="append", default=[], metavar="KEY=BYTES")
    parser.add_argument("--bytes-per-second", type=float, default=None, help="the most that one body is sent with")
    options = parser.parse_args()
    with ObjectStore() as store:
        bucket = store.bucket(options.bucket, Quirks(bytes_per_second=options.bytes_per_second))
        for text in options.object:
            key, _, size = text.rpartition("=")
            bucket.put(key, content(key, int(size)))
        print(json.dumps(store.environ), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
