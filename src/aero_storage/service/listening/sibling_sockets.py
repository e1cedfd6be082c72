"""Listening sockets of other workers, at which a worker accepts while they do not."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.interfaces import IListeningPort
from typing_extensions import override

from aero_storage.workers.control_client import Siblings

Open = Callable[[int], IListeningPort]
"""Listens at a descriptor as at one of the worker's own sockets; closes the descriptor, also if it fails."""


@attrs.define(eq=False)
class SiblingSockets(Siblings):
    """The ports of other workers, by their numbers."""

    _own: Sequence[Open]
    """One for each socket of this worker; the sockets of another worker come in the same order."""
    _ports: dict[int, list[IListeningPort]] = attrs.field(init=False, factory=dict)
    _is_closed: bool = attrs.field(init=False, default=False)

    @override
    def take_over(self, number: int, descriptors: Sequence[int]) -> None:
        self.give_back(number)
        left = list(descriptors)
        try:
            if not self._is_closed:
                self._open_all(number, left)
        except BaseException:
            self.give_back(number)
            raise
        finally:
            for descriptor in left:
                os.close(descriptor)

    def _open_all(self, number: int, left: list[int]) -> None:
        # Takes descriptors out of `left` one after the other.
        if len(left) != len(self._own):
            raise ValueError(f"{len(left)} sockets instead of {len(self._own)}")
        ports = self._ports[number] = []
        for listen in self._own:
            ports.append(listen(left.pop(0)))  # noqa: PERF401 - those that are open are known if the next one fails

    @override
    def give_back(self, number: int) -> None:
        for port in self._ports.pop(number, ()):
            port.stopListening()

    @override
    def close(self) -> None:
        self._is_closed = True
        for number in list(self._ports):
            self.give_back(number)
