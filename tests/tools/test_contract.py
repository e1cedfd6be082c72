"""`make contract` has each module of the black-box suite, or a reason why not."""

from __future__ import annotations

import re
from pathlib import Path

from tests.blackbox.bucket_differences import LEFT_OUT

ROOT = Path(__file__).parents[2]


def in_makefile() -> set[str]:
    """Return the modules that `make contract` runs over a bucket with a cache."""
    found = re.findall(
        r"^CONTRACT(?:_OF_[A-Z]+)? := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    return {name for line in found for name in line.split() if not name.startswith("$")}


def test_every_module_is_decided_on() -> None:
    """No module is forgotten: it is run over a bucket, or left out for a reason, and never both."""
    modules = {path.stem.removeprefix("test_") for path in (ROOT / "tests/blackbox").glob("test_*.py")}
    assert in_makefile() | LEFT_OUT.keys() == modules
    assert not in_makefile() & LEFT_OUT.keys()
    assert all(LEFT_OUT.values())
