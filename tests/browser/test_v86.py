"""v86, as npm has it, boots a boot sector of the tests' own from the client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
BIOS = Path("/usr/share/seabios")


def test_v86(run_node: Callable[..., str], tools: Path, lacking: Callable[[str], NoReturn]) -> None:
    """A machine boots, reads and writes through the client, and its state comes back over the same version alone."""
    if not BIOS.is_dir():
        lacking("SeaBIOS is not installed (Debian: apt-get install seabios)")
    facts = {"modules": str(tools), "bios": str(BIOS)}
    assert "# pass 2" in run_node("--test", HERE / "v86.test.mjs", V86=json.dumps(facts))
