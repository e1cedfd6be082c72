"""`python -m aero_storage`: the operator's command."""

from __future__ import annotations

from aero_storage.cli.main import main

if __name__ == "__main__":
    main()
