"""How many descriptors this process may have: as many as it is allowed, and a warning if these are too few."""

from __future__ import annotations

import resource

from twisted.internet.selectreactor import SelectReactor

from aero_storage.logs import EventLog
from aero_storage.web.crowd import MOST_TOLD, Limits

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


def complain_if_few(log: EventLog, limits: Limits, open_files: int) -> None:
    """Warn if the limit is reached before `limits` are; `open_files` are kept open between requests."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (limits.most + MOST_TOLD if limits.most else 0) + open_files + RESERVE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        fields = {"limit": soft, "wanted": wanted, "max_connections": limits.most, "remedy": _REMEDY}
        log.event("warn", "too few file descriptors allowed", fields)


_REMEDY = "raise the hard limit (ulimit -Hn, LimitNOFILE=) or lower --max-connections"
