"""One signature: the bytes by which a file shows its kind, and the advice."""

from __future__ import annotations

import attrs

_LONG_TEXT = 4

Mark = tuple[int, bytes]
"""An offset, negative from the end of the file, and the bytes that are there."""


@attrs.frozen
class Signature:
    """A kind of file that is no raw disk."""

    kind: str
    """Completes "the file is …"."""
    remedy: str
    """The advice; `{}` stands for the file, as a word of the shell, and `ID` for the image's id."""
    marks: tuple[Mark, ...] = ()
    """All of them are there."""
    opening: bytes = b""
    """The beginning of a text, in lower case."""
    holds: bytes = b""
    """A part of the first 4 KiB of a text, in lower case."""
    is_weak: bool = False
    """Whether a raw disk may have these bytes by chance: then a sign of a disk goes before it."""

    def advice(self, word: str, image_id: str = "ID") -> str:
        """Return the advice about a file, `word` as a word of the shell, that is or becomes the image `image_id`."""
        return self.remedy.replace("--id ID", f"--id {image_id}").replace("{}", word)


def by_magic(kind: str, remedy: str, *magics: bytes, at: int = 0) -> tuple[Signature, ...]:
    """Return a signature for each of these magic numbers at one offset."""
    return tuple(Signature(kind, remedy, marks=((at, magic),)) for magic in magics)


def weakly(kind: str, remedy: str, *magics: bytes, at: int = 0) -> tuple[Signature, ...]:
    """Return a weak signature for each of these short magic numbers at one offset."""
    return tuple(Signature(kind, remedy, marks=((at, magic),), is_weak=True) for magic in magics)


def by_text(kind: str, remedy: str, *openings: bytes, holds: bytes = b"") -> tuple[Signature, ...]:
    """Return a signature for each of these beginnings of a text."""
    return tuple(
        Signature(kind, remedy, opening=opening, holds=holds, is_weak=len(opening) < _LONG_TEXT)
        for opening in openings
    )
