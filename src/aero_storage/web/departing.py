"""How a connection comes to its end from our side: drained, shut, broken off as its client takes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.web.http import Request as HTTPRequest

from aero_storage.delivery.exchange import Exchange
from aero_storage.streaming.outlet import outlet_of
from aero_storage.web.express import Delivery
from aero_storage.web.request import AeroRequest
from aero_storage.web.transport import Transport


class Departing:
    """A channel's part in that; a Stream for Stalls."""

    transport: Transport
    requests: list[AeroRequest]
    persistent: int
    _delivery: Delivery | None
    _handlingRequest: bool

    @property
    def is_silent(self) -> bool:
        """Whether no response is under way, and nothing of a next request has come."""
        raise NotImplementedError

    if TYPE_CHECKING:

        def loseConnection(self) -> None:
            """Close, without waiting for the client for ever."""

    def close_after(self, request: HTTPRequest) -> None:
        """Have the response to a request say that the connection closes, and close it then."""
        raise NotImplementedError

    def progress(self) -> int | None:
        """See Stream."""
        outlet = outlet_of(self.transport) if self.busy else None
        return outlet.progress() if outlet is not None else None

    def unseen(self) -> int:
        """See Stream."""
        outlet = outlet_of(self.transport)
        return outlet.unseen() if outlet is not None else 0

    def give_place_up(self) -> bool:
        """See Stream."""
        exchange = self._exchange
        return exchange is not None and exchange.give_place_up()

    @property
    def request_id(self) -> str | None:
        """See Stream."""
        return None if self._exchange is None else self._exchange.request_id

    @property
    def _exchange(self) -> Exchange | None:
        """Of the response that is being sent."""
        if self._delivery is not None:
            return self._delivery.exchange
        return self.requests[0].exchange if self.requests else None

    @property
    def busy(self) -> bool:
        """Whether a response is under way."""
        return self._delivery is not None or bool(self._handlingRequest)

    def drain(self) -> None:
        """Close when what is under way has been answered: at once, if nothing is."""
        if self.is_silent:
            self.loseConnection()
            self.persistent = 0
        elif self._handlingRequest:  # else its head is on its way, and will be answered, or time out
            for request in self.requests:
                if not request.startedWriting:
                    self.close_after(request)
            self.persistent = 0

    def shut(self) -> None:
        """Break off a request in work, close an idle connection."""
        if self._delivery is not None:
            self._delivery.aborted_by_us = True
        elif not self.requests:
            self.loseConnection()
            return
        for request in self.requests:
            request.aborted_by_us = True
        self.transport.abortConnection()
