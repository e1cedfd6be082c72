"""Tells what a file is from the parts of it that are known: a pure judgement, for files and streams alike.

An unknown file is no raw disk: an archive or a container would be served as it is, and no emulator could use it.
"""

from __future__ import annotations

import attrs

from aero_storage.image_formats.byte_source import Sample
from aero_storage.image_formats.containers import container
from aero_storage.image_formats.disks import disk_kind
from aero_storage.image_formats.signature_search import find_signature, find_text, find_weak_signature
from aero_storage.image_formats.signatures import Signature


@attrs.frozen
class Recognition:
    """The answer; at most one of the three is set, and none if nothing is recognised."""

    container: str | None = None
    """An image that qemu reads: a key of `containers.SIGNS`."""
    other: Signature | None = None
    """Something that is no disk as it lies there."""
    disk: str | None = None
    """A raw disk, by this sign."""


def recognise(sample: Sample, name: str) -> Recognition:
    """Return what a file with this name and these parts is."""
    if found := container(sample):
        return Recognition(container=found)
    if other := find_signature(sample, name):
        return Recognition(other=other)
    if disk := disk_kind(sample):
        return Recognition(disk=disk)
    return Recognition(other=find_weak_signature(sample) or find_text(sample))
