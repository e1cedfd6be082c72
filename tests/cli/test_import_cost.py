"""What the operator's command brings in."""

from __future__ import annotations

import subprocess
import sys


def test_no_reactor() -> None:
    """The command needs neither Twisted nor Klein, so that it starts at once and waits in its own way."""
    heavy = "{'twisted', 'klein', 'prometheus_client'}"
    script = f"import sys, aero_storage.cli.main; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
