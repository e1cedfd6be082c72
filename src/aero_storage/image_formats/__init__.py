"""Tells by bytes alone whether a file is an image that qemu reads, something else, or a raw disk. Opens no file."""
