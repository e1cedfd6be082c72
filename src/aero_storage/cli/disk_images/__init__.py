"""Disk image formats: detection, conversion to raw, sparse copies."""
