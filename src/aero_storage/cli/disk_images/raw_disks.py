"""Refuses files that are no raw disk, with what they are and what to do."""

from __future__ import annotations

import os
from typing import NoReturn

from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.image_formats.byte_source import sample
from aero_storage.image_formats.recognition import recognise
from aero_storage.image_formats.signatures import Signature

_AS_IT_IS = "--format raw takes it as it is"


def require_disk(image: ImageFile) -> None:
    """Raise OperatorError unless a file that qemu has no format for looks like a raw disk."""
    parts = sample(lambda offset, length: os.pread(image.descriptor, length, offset), image.size)
    seen = recognise(parts, image.path.name)
    if seen.other:
        refuse_other(printable(image.path, None), seen.other, image.word)
    if not seen.disk:
        image.refuse(
            "is not recognised as a disk: it has no boot signature, no partition table, no file system or volume "
            f"that is known, and is not all zeros; if it is a raw disk all the same, say so: {_AS_IT_IS}"
        )


def refuse_other(name: str, signature: Signature, word: str) -> NoReturn:
    """Raise OperatorError: the file `name` is no disk; `word` is its name, as a word of the shell."""
    raise OperatorError(f"{name}: is {described(signature, word)}  ({_AS_IT_IS})")


def described(signature: Signature, word: str, image_id: str = "ID") -> str:
    """Return what a file is, and what to do with it; `word` is its name, as a word of the shell."""
    return f"{signature.kind}; {signature.advice(word, image_id)}"
