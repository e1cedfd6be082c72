"""QR codes (ISO/IEC 18004) as rows of block characters, two modules above each other in one."""

from __future__ import annotations

import itertools

import segno

_BLOCKS = {(0, 0): " ", (1, 0): "\N{UPPER HALF BLOCK}", (0, 1): "\N{LOWER HALF BLOCK}", (1, 1): "\N{FULL BLOCK}"}
_QUIET_ZONE = 4
"""Modules of margin, as the standard asks for."""


def qr_rows(text: str) -> list[str]:
    """Return the rows of the code of a text, its quiet zone around it, to be shown dark on light."""
    modules = [list(row) for row in segno.make(text, micro=False).matrix_iter(border=_QUIET_ZONE)]
    pairs = itertools.zip_longest(modules[::2], modules[1::2], fillvalue=[0] * len(modules[0]))
    return ["".join(_BLOCKS[above, below] for above, below in zip(*pair, strict=True)) for pair in pairs]
