"""Fixtures of the black-box suite: every test here talks to a real `twistd aero-storage` over TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.blackbox import bucket_roots
from tests.blackbox.bucket_differences import REAL_STORE, reason_to_skip
from tests.blackbox.harness import Daemon, running
from tests.blackbox.image_roots import OVER_BUCKET, full_root, small_root
from tests.blackbox.real_buckets import real_store
from tests.blackbox.startup_cases import CHECKED, FAILING, StartupRuns, start_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what a bucket does not have, where daemons serve one."""
    if not OVER_BUCKET:
        return
    for item in items:
        parameters = (
            repr(item.callspec.params) if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ""
        )
        if "blackbox" in item.path.parts and (reason := reason_to_skip(item.nodeid, parameters)):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that makes a fresh directory for one daemon."""
    return tmp_path_factory.mktemp


@pytest.fixture(scope="session")
def small_home(home: Callable[[str], Path]) -> Callable[[str], Path]:
    """Return a function that makes a fresh directory with a small images root in it."""

    def make(name: str) -> Path:
        path = home(name)
        small_root(path / "images")
        return path

    return make


@pytest.fixture(scope="session")
def store(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """The daemon as it comes: no setting but its address and its root."""
    path = home("default")
    full_root(path / "images")
    with running(path) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def failing(home: Callable[[str], Path]) -> Iterator[StartupRuns]:
    """All starts that must fail, one after the other in the background."""
    yield from start_all(FAILING, home)


@pytest.fixture(scope="session")
def checked(home: Callable[[str], Path]) -> Iterator[StartupRuns]:
    """All starts with `--check-config` that must succeed, in the background too."""
    yield from start_all(CHECKED, home, "--check-config")


@pytest.fixture(scope="session", autouse=True)
def _real_store(request: pytest.FixtureRequest) -> None:
    """Have daemons serve from the real store that `BLACKBOX_STORE` names."""
    if OVER_BUCKET and REAL_STORE:
        bucket_roots.use(real_store(request.getfixturevalue(REAL_STORE).access))


@pytest.fixture(scope="session", autouse=True)
def _early_starts(request: pytest.FixtureRequest) -> None:
    """Begin those starts at once where they are wanted: they take their half second each while others run."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in sorted(wanted & {"failing", "checked"}):
        request.getfixturevalue(name)
