"""The log: JSON lines written by a thread, and rate-limited events."""
