"""Looks at a daemon's metrics, and remembers the last one for the rates."""

from __future__ import annotations

import ssl
from http.client import RemoteDisconnected

import attrs

from aero_storage.chunks.verify.remote import brief
from aero_storage.cli.top.exposition import Exposition, parse_exposition
from aero_storage.cli.top.figures import Figures, figures_of
from aero_storage.doctor.http_client import HttpClient, UnansweredError
from aero_storage.doctor.target import Target
from aero_storage.errors import OperatorError

MOST_BYTES = 8 * 1024 * 1024
"""Limit of a page of metrics."""

_PATH = "/metrics"
_REASONS = {
    401: "the metrics ask for a token; name its file with --metrics-auth-token-file",
    403: "the metrics are not for this token",
    404: "there are no metrics: --disable-metrics is set, or a proxy keeps them to itself",
}
_WITHHELD = (
    "the metrics ask for a token, and that of the settings is sent to their own address alone; name its file with "
    "--metrics-auth-token-file to send it here"
)
_OK, _UNAUTHORIZED = 200, 401


def _explained(target: Target, error: UnansweredError) -> str:
    """Return what went wrong, where, and what mends it."""
    fault = error.error
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"the certificate of {target.url} is not trusted: {_of_certificate(fault)}"
    if isinstance(fault, ssl.SSLError):
        return f"{target.url}: {error}; does it speak TLS, or is it an http:// URL?"
    closed = isinstance(fault, RemoteDisconnected) and target.scheme == "http"
    return f"{target.url}: {error}{'; is it an https:// URL?' if closed else ''}"


def _of_certificate(fault: ssl.SSLCertVerificationError) -> str:
    reason = brief(fault.verify_message).removesuffix(".")
    if "mismatch" in reason:
        return f"{reason}; use the host's name in the URL that it is for, or --insecure to look on without a check"
    return (
        f"{reason}; --ca-file FILE names the certificate of your own authority, --insecure looks on without a check"
    )


@attrs.define(eq=False)
class Observer:
    """Looks at one daemon."""

    _client: HttpClient
    _withheld: bool = False
    """Whether there is a token in the settings that is not for this daemon."""
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
            raise OperatorError(_explained(self._client.target, error)) from error
        if answer.status != _OK:
            if answer.status == _UNAUTHORIZED and self._withheld:
                raise OperatorError(_WITHHELD)
            raise OperatorError(_REASONS.get(answer.status) or f"the metrics are answered {answer.status}")
        if not answer.is_complete:
            raise OperatorError(f"the metrics are longer than {MOST_BYTES} bytes")
        return parse_exposition(answer.body.decode("utf-8", errors="replace"))
