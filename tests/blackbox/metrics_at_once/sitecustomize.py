"""Has a daemon make an exposition of its metrics for each who asks, without the half second between two.

PYTHONPATH names this directory. Tests look at metrics before and after each request. The half second itself is tested
in `tests/delivery/test_exposition.py`, and in `test_metrics.py` with a daemon as it comes.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

MODULE = "aero_storage.delivery.exposition"


class _Without(MetaPathFinder):
    """Sets the interval of the module to 0 when it is imported; nothing is imported earlier than without this."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != MODULE or (spec := PathFinder.find_spec(fullname, path, target)) is None:
            return None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            module.INTERVAL_SECONDS = 0.0  # type: ignore[attr-defined]

        loader: Any = spec.loader
        loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Without())
