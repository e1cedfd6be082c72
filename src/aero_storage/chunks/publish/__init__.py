"""Cutting an image into chunk objects."""
