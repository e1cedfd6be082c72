"""Looks at a daemon's metrics, and remembers the last one for the rates."""

from __future__ import annotations

import attrs

from aero_storage.cli.top.exposition import Exposition, parse_exposition
from aero_storage.cli.top.figures import Figures, figures_of
from aero_storage.doctor.http_client import HttpClient, UnansweredError
from aero_storage.errors import OperatorError

MOST_BYTES = 8 * 1024 * 1024
"""Limit of a page of metrics."""

_PATH = "/metrics"
_REASONS = {
    401: "the metrics ask for a token; name its file with --metrics-auth-token-file",
    403: "the metrics are not for this token",
    404: "there are no metrics: --disable-metrics is set, or a proxy keeps them to itself",
}
_OK = 200


@attrs.define(eq=False)
class Observer:
    """Looks at one daemon."""

    _client: HttpClient
    _last: Exposition | None = attrs.field(init=False, default=None)
    _at: float = attrs.field(init=False, default=0.0)

    def look(self) -> Figures:
        """Return the figures since the last look. Raises OperatorError with the reason if there are none."""
        now, at = self._read(), self._client.now()
        figures = figures_of(self._last, now, at - self._at)
        self._last, self._at = now, at
        return figures

    def _read(self) -> Exposition:
        try:
            answer = self._client.ask("GET", _PATH, most=MOST_BYTES)
        except UnansweredError as error:
            raise OperatorError(str(error)) from error
        if answer.status != _OK:
            raise OperatorError(_REASONS.get(answer.status) or f"the metrics are answered {answer.status}")
        if not answer.is_complete:
            raise OperatorError(f"the metrics are longer than {MOST_BYTES} bytes")
        return parse_exposition(answer.body.decode("utf-8", errors="replace"))
