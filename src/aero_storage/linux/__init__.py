"""Interfaces of the Linux kernel and glibc, one per module; without effect on other systems."""
