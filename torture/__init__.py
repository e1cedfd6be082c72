"""`make torture` and `make soak`: faults, hostile input and all kinds of clients against the real daemon."""
