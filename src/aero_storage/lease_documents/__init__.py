"""The files of lease keys and revocations, read when they change; the last good one stays in force (http.md §12)."""
