"""Run a store until interrupted: `python -m tools.stores ceph|seaweedfs|azurite [--bucket NAME] [--home DIRECTORY]`.

Standard output gets the variables that clients need, as lines for a shell.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tools.stores.access import Access
from tools.stores.azurite import azurite
from tools.stores.ceph import ceph
from tools.stores.processes import StoreError
from tools.stores.seaweedfs import seaweedfs


@contextlib.contextmanager
def ceph_access(home: Path) -> Iterator[Access]:
    """Run Ceph, and give its first gateway."""
    with ceph(home) as cluster:
        yield cluster.access


@contextlib.contextmanager
def seaweedfs_access(home: Path) -> Iterator[Access]:
    """Run SeaweedFS, and give its first gateway."""
    with seaweedfs(home) as cluster:
        yield cluster.access


STORES: dict[str, Callable[[Path], AbstractContextManager[Access]]] = {
    "ceph": ceph_access,
    "seaweedfs": seaweedfs_access,
    "azurite": azurite,
}


def lines(access: Access, bucket: str) -> Iterator[str]:
    """Yield the variables of a store, and the images root, as a shell reads them."""
    variables = {**access.environment, "AERO_STORAGE_IMAGE_ROOT": access.url(bucket)}
    yield from (f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def serve(store: str, home: Path, bucket: str) -> None:
    """Run a store with a bucket until SIGINT or SIGTERM."""
    ending = (signal.SIGINT, signal.SIGTERM)
    with STORES[store](home) as access:
        access.make_bucket(bucket)
        # Blocked before anybody is told that it runs, or a signal that comes at once would not be awaited.
        signal.pthread_sigmask(signal.SIG_BLOCK, ending)
        print(*lines(access, bucket), sep="\n", flush=True)
        signal.sigwait(ending)


def main() -> int:
    """Read the command line and run the store."""
    parser = argparse.ArgumentParser(prog="python -m tools.stores", description=__doc__)
    parser.add_argument("store", choices=STORES)
    parser.add_argument("--bucket", default="images", help="a bucket to make (images)")
    parser.add_argument("--home", type=Path, help="a directory to make, and to remove at the end")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=f"aero-{given.store}-") as place:
        try:
            serve(given.store, given.home or Path(place) / given.store, given.bucket)
        except StoreError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
