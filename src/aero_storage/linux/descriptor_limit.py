"""How many descriptors this process may have: as many as it is allowed, and a warning if these are too few."""

from __future__ import annotations

import resource

from twisted.internet.selectreactor import SelectReactor

from aero_storage.logs.json_log import EventLog

MOST = 1024 * 1024
"""More is of no use, and costs memory in kernels that make room for all of them."""

RESERVE = 128
"""For log, reactor, listening sockets, requests that open what is not kept open, and workers."""

_MOST_FOR_SELECT = 1024


def raise_limit(reactor: object) -> None:
    """Raise the soft limit of descriptors to the hard one, up to MOST; not beyond what `select` can watch."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FOR_SELECT if isinstance(reactor, SelectReactor) else MOST
    wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def warn_if_low(log: EventLog, max_connections: int, refused: int, open_files: int) -> None:
    """Warn if the limit of descriptors is reached before `max_connections` (0: any number) are open.

    `refused`: connections beyond that number that stay open for their refusal. `open_files`: files that stay open
    between requests.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (max_connections + refused if max_connections else 0) + open_files + RESERVE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        fields = {"limit": soft, "wanted": wanted, "max_connections": max_connections, "remedy": _REMEDY}
        log.event("warn", "too few file descriptors allowed", fields)


_REMEDY = "raise the hard limit (ulimit -Hn, LimitNOFILE=) or lower --max-connections"
