"""The log: JSON lines, written by a thread, and events that repeat told once a minute."""
