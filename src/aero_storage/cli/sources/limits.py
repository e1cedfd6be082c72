"""The limit of the content that is unpacked or fetched: its size."""

from __future__ import annotations

import attrs

from aero_storage.cli.sources.stream import Stream
from aero_storage.errors import OperatorError
from aero_storage.sizes import format_size

MAX_SIZE = 1 << 40
"""Default of `--max-size`: 1 TiB."""


def require_size(name: str, size: int, max_size: int) -> None:
    """Raise OperatorError if the content is longer than `--max-size` allows."""
    if size > max_size:
        raise OperatorError(
            f"{name}: holds more than {format_size(max_size)}; if it is no bomb, allow it with --max-size SIZE"
        )


@attrs.define
class LimitedSize:
    """A stream of at most `max_size` bytes; `name` is its source in messages. Raises OperatorError behind them."""

    name: str
    max_size: int
    _stream: Stream
    _count: int = attrs.field(init=False, default=0)

    def read(self, most: int, /) -> bytes:
        """Return the next bytes."""
        data = self._stream.read(most)
        self._count += len(data)
        require_size(self.name, self._count, self.max_size)
        return data
