"""Extents: where the data of an image lies, and where it has zeros (http.md §14). Pure."""
