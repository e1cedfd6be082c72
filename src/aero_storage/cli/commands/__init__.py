"""The commands of `aero-storage`, one a module."""
