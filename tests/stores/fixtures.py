"""Real object stores, each started once for all tests that want it; `tests/conftest.py` has them for all rooms."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tools.stores import azurite as _azurite
from tools.stores import ceph as _ceph
from tools.stores import seaweedfs as _seaweedfs
from tools.stores.access import AzureAccess
from tools.stores.ceph import Ceph
from tools.stores.seaweedfs import SeaweedFS


def require(reason: str | None) -> None:
    """End a test whose store is not installed: skipped on a user's machine, failed in CI."""
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; in CI every store must be there")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """A cluster of Ceph; what a test kills of it, it starts again."""
    require(_ceph.missing())
    with _ceph.ceph(tmp_path_factory.mktemp("ceph") / "home") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A cluster of SeaweedFS."""
    require(_seaweedfs.missing())
    with _seaweedfs.seaweedfs(tmp_path_factory.mktemp("seaweedfs") / "home") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureAccess]:
    """The emulator of Azure Blob."""
    require(_azurite.missing())
    with _azurite.azurite(tmp_path_factory.mktemp("azurite") / "home") as access:
        yield access
