"""Sorts more records than memory holds: sorted runs go to a temporary file, and are merged."""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import IO

import attrs
from typing_extensions import override

IN_MEMORY = 250_000
"""Records that are sorted at a time, in some 25 MB."""

_READ_RECORDS = 512
"""Records of one run that are read at a time."""


@attrs.define(eq=False)
class RecordSorter(AbstractContextManager["RecordSorter"]):
    """Records of `width` bytes each, sorted as bytes are; its file goes at the end of the with block."""

    width: int
    _most: int = IN_MEMORY
    _records: list[bytes] = attrs.field(init=False, factory=list)
    _runs: list[tuple[int, int]] = attrs.field(init=False, factory=list)
    """The place of each run in the file, and the first byte behind it."""
    _file: IO[bytes] | None = attrs.field(init=False, default=None)

    def add(self, record: bytes) -> None:
        """Take a record. Raises OSError if the disk of temporary files is full."""
        self._records.append(record)
        if len(self._records) >= self._most:
            self._spill()

    def sorted(self) -> Iterator[bytes]:
        """Yield all records, sorted; none is added meanwhile."""
        self._records.sort()
        runs = [self._run(first, after) for first, after in self._runs]
        return heapq.merge(*runs, self._records) if runs else iter(self._records)

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="aero-storage-")  # noqa: SIM115 - closed by __exit__
        self._records.sort()
        first = self._file.tell()
        self._file.writelines(self._records)
        self._runs.append((first, self._file.tell()))
        self._records.clear()

    def _run(self, first: int, after: int) -> Iterator[bytes]:
        assert self._file is not None  # noqa: S101 - there are runs
        self._file.flush()
        width = self.width
        for place in range(first, after, _READ_RECORDS * width):
            piece = os.pread(self._file.fileno(), min(_READ_RECORDS * width, after - place), place)
            for offset in range(0, len(piece), width):
                yield piece[offset : offset + width]

    @override
    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
