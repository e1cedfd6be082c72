"""A registry and a mirror of the tests' own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cli.package_registries import Registries, registries

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def served() -> Iterator[Registries]:
    with registries() as running:
        yield running
