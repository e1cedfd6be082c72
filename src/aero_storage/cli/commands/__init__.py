"""The commands of `aero-storage`, one per module."""
