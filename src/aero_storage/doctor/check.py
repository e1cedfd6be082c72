"""A check as a value, and results common to all checks."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aero_storage.doctor import advice
from aero_storage.doctor.http_client import BrokenOffError, BusyError, UnansweredError
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import CheckResult, Result, SkippedError, failure, skipped, warning
from aero_storage.doctor.session import Session
from aero_storage.http.cors import MAX_RANGE_BYTES


@attrs.frozen
class Check:
    """One check of a server."""

    name: str
    """The name of the check in reports, for scripts too."""
    title: str
    examine: Callable[[Session], Result]
    """Make the check; may raise SkippedError and UnansweredError."""

    def run(self, session: Session) -> CheckResult:
        """Make the check and return its result, also if it is skipped or unanswered."""
        try:
            result = self.examine(session)
        except SkippedError as reason:
            result = skipped(str(reason))
        except UnansweredError as error:
            result = unanswered(error)
        return CheckResult(self.name, self.title, result)


def unanswered(error: UnansweredError) -> Result:
    """Return the result of a check whose request got no complete answer."""
    if isinstance(error, BusyError):
        return warning(
            str(error),
            "the server is full; clients such as v86 never try again",
            "raise --max-concurrent-bytes-requests and --bytes-queue-timeout-secs, or look again at a quiet time",
        )
    if isinstance(error, BrokenOffError):
        return failure(
            str(error),
            "a client gets a part of what was announced: an emulator's read fails, a download starts again",
            f"in nginx: raise proxy_read_timeout and send_timeout, see to room for proxy_temp_path; {advice.LOGS}",
        )
    return failure(str(error), "a client gets nothing", advice.LOGS)


def wrong_status(answer: Response, expected: str) -> Result:
    """Return the result of a check whose answer has an unexpected status."""
    seen = f"{answer.request}: status {answer.status}, not {expected}"
    if 300 <= answer.status < 400:  # noqa: PLR2004 - redirects
        return failure(
            f"{seen}; {answer.show('Location')}",
            "browsers follow no redirect after a preflight, and drop the Origin when it leads elsewhere",
            "name the URL that it leads to, in the pages too; or let the proxy answer here",
        )
    if answer.status in (401, 403):
        return failure(
            seen,
            "clients without credentials read nothing",
            "show a lease (--lease-file FILE) or what else a client would send (--header 'Authorization: …'), "
            "or open this path in the proxy",
        )
    if answer.status == 413:  # noqa: PLR2004
        return failure(
            f"{seen}; {answer.show(MAX_RANGE_BYTES)}",
            "clients that read so much at once read nothing",
            "raise --max-range-bytes, or lift it with none",
        )
    if answer.status >= 500:  # noqa: PLR2004 - the server's own errors
        return failure(seen, "clients read nothing", f"the daemon is down, or it failed: {advice.LOGS}")
    return failure(seen, "clients take it for an error", advice.ROUTE)
