"""Listening sockets of other workers, at which a worker accepts while they do not."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.interfaces import IListeningPort
from typing_extensions import override

from aero_storage.workers.control_client import Siblings

Open = Callable[[int, int], IListeningPort]
"""Listens at a descriptor, which it takes, as at the worker's own socket of that index."""


@attrs.define(eq=False)
class SiblingSockets(Siblings):
    """The ports of other workers, by their numbers."""

    _open: Open
    _ports: dict[int, list[IListeningPort]] = attrs.field(init=False, factory=dict)
    _is_closed: bool = attrs.field(init=False, default=False)

    @override
    def take_over(self, number: int, descriptors: Sequence[int]) -> None:
        if self._is_closed:
            for descriptor in descriptors:
                os.close(descriptor)
            return
        self.give_back(number)
        self._ports[number] = [self._open(index, descriptor) for index, descriptor in enumerate(descriptors)]

    @override
    def give_back(self, number: int) -> None:
        for port in self._ports.pop(number, ()):
            port.stopListening()

    @override
    def close(self) -> None:
        self._is_closed = True
        for number in list(self._ports):
            self.give_back(number)
