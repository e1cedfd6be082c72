"""`make soak`: all kinds of clients at once, for an hour; see `python -m torture.soak --help`."""
