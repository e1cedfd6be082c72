"""Reads the output of `qemu-img map`, and refuses an image whose data would lie behind the end of its file.

qemu reads zeros there. It leaves out compressed data: lengths.py looks for them in the tables of qcow2 and qcow.
"""

from __future__ import annotations

import attrs

from aero_storage.cli.disk_images.formats import refuse_cut
from aero_storage.cli.disk_images.open_image import OpenImage
from aero_storage.errors import JsonError
from aero_storage.strict_json import load

_LONGEST_LINE = 64 * 1024
_MOST_VALUES = 64  # qemu 7.2 gives an entry eight


@attrs.define
class MapReader:
    """Takes the output in pieces: an array, of which each entry has its line. It keeps one line in memory."""

    image: OpenImage
    _rest: bytes = b""

    def feed(self, output: bytes) -> None:
        """Take a piece. Raises JsonError, or OperatorError if the image is cut short."""
        *lines, self._rest = (self._rest + output).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._rest) > _LONGEST_LINE:
            raise JsonError(f"a line of more than {_LONGEST_LINE} bytes")

    def finish(self) -> None:
        """Take the last line."""
        self._take(self._rest)

    def _take(self, line: bytes) -> None:
        if entry := line.strip().removeprefix(b"[").rstrip(b",]"):
            self._check(load(entry, _MOST_VALUES))

    def _check(self, entry: object) -> None:
        """Look at the place of an entry that has one; of space that reads as zeros, none is lost.

        qemu ends the last entry at the end of the disk, where the last cluster in the file may end as well.
        """
        match entry:
            case {"data": True, "offset": int(offset), "start": int(start), "length": int(length)}:
                file = self.image.file_at(start)
                if offset + length > file.size:
                    refuse_cut(file)
