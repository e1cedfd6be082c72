"""The limit of file descriptors: raised to the hard limit, with a warning if that is too low."""

from __future__ import annotations

import resource

from twisted.internet.selectreactor import SelectReactor

from aero_storage.logs.json_log import EventLog

MOST = 1024 * 1024
"""Upper bound of the limit: more is of no use, and costs memory in kernels that allocate for all of them."""

RESERVE = 128
"""Descriptors for log, reactor, listening sockets, workers, and files opened outside the cache of open files."""

_MOST_FOR_SELECT = 1024


def raise_limit(reactor: object) -> None:
    """Raise the soft limit of descriptors to the hard one, up to MOST, or to the limit of `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FOR_SELECT if isinstance(reactor, SelectReactor) else MOST
    needed = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def warn_if_low(log: EventLog, max_connections: int, beyond: int, open_files: int) -> None:
    """Log a warning if the limit of descriptors is too low for `max_connections` (0: any number).

    `beyond` is the number of further connections that may be open (web.connection_limits), `open_files` the number of
    files kept open between requests.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = (max_connections + beyond if max_connections else 0) + open_files + RESERVE
    if soft != resource.RLIM_INFINITY and soft < needed:
        fields = {"limit": soft, "wanted": needed, "max_connections": max_connections, "remedy": _REMEDY}
        log.event("warn", "too few file descriptors allowed", fields)


_REMEDY = "raise the hard limit (ulimit -Hn, LimitNOFILE=) or lower --max-connections"
