"""Object stores on this machine, for tests, measurements and the tutorial: `python -m tools.stores --help`."""
