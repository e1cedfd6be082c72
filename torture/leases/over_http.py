"""Mutated and forged leases over HTTP, by all carriers, beside a holder of a good one."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from urllib.parse import quote

import attrs
from tests.blackbox.raw_http import NoReplyError, RawConnection, Reply, head

from aero_storage.http.leases.carriers import Carrier
from torture.leases.confusion import forged_tokens
from torture.leases.issuer import HS_KEY, IMAGE, KEYS, LIFETIME
from torture.leases.mutations import mutated
from torture.leases.reference import Question, opens
from torture.leases.trial import PRIVATE, LeasedTrial, leased_trial
from torture.outcome import Outcome
from torture.trial import Trial

_BY_KID = {key.kid: key for key in KEYS}
_RANGE = {"Range": "bytes=0-9"}
_NOT_IN_FIELDS = ("\r", "\n", "\0")
"""These end a field: what comes behind them would be a request of its own."""
_REFUSALS = {400, 401, 403, 414, 431}
_TOO_OFTEN = 429
_UNLIMITED = "--lease-failures-per-sec=0"
_SHARE_WITH_LIMIT = 5
"""One in so many tokens goes to a daemon with the default limit of failures, which answers most with a 429."""


@attrs.frozen
class Sent:
    """A token as it is sent; `received` is what the daemon finds."""

    request: bytes
    received: str
    carrier: Carrier


def carried(token: str, carrier: Carrier) -> Sent:
    """Return the request with a token; one that would end a field goes by the query."""
    if carrier is Carrier.QUERY or any(one in token for one in _NOT_IN_FIELDS):
        text = quote(token.encode("utf-8", "surrogatepass"), safe="")
        return Sent(head("GET", f"{PRIVATE}?a=b&lease={text}", _RANGE), token, Carrier.QUERY)
    text = token.encode("utf-8", "surrogatepass").decode("latin-1")
    if carrier is Carrier.BEARER:
        found = token.lstrip(" ").rstrip(" \t")  # white space around a field's value is none of it
        return Sent(head("GET", PRIVATE, {**_RANGE, "Authorization": f"Bearer {text}"}), found, carrier)
    found = token.partition(";")[0].rstrip(" \t")
    return Sent(head("GET", PRIVATE, {**_RANGE, "Cookie": f"a=b; aero-lease={text}; c=d"}), found, carrier)


def mutated_over_http(count: int, seed: str = "leases") -> Outcome:
    """Send mutated tokens to a daemon that limits no failures, and some to one that does."""
    with leased_trial(_UNLIMITED) as trial:
        before, start = trial.footprint(), time.monotonic()
        with trial.with_live_clients(1, _leased_stem(trial)):
            statuses = _send(trial, _mutated(count, seed), trial.version)
        rate = count / (time.monotonic() - start)
        after = trial.footprint_after(before)
        trial.check_alive()
        trial.check_secrets()
    with leased_trial() as limited:
        with limited.with_live_clients(1, _leased_stem(limited)):
            others = _send(limited, _mutated(count // _SHARE_WITH_LIMIT, f"{seed} limited"), limited.version)
        limited.check_alive()
        limited.check_secrets()
        limited.check(others[_TOO_OFTEN], "no failure was one too many: the limit does not count")
        trial.complaints += limited.complaints
    trial.check({206, 401, 403} <= set(statuses), f"too little was tried: {statuses}")
    saw = f"{_in_words(statuses)}; with the default limit of failures {_in_words(others)}"
    tried = f"mutated tokens by bearer, query and cookie, {rate:,.0f} a second beside a holder (seed {seed})"
    return trial.outcome("mutated leases over HTTP", tried, count, saw, (before, after))


def forged_over_http(_count: int) -> Outcome:
    """Send forged tokens by each carrier: confused algorithms and keys open nothing."""
    with leased_trial(_UNLIMITED) as trial:
        before, now = trial.footprint(), int(time.time())
        claims = {"img": IMAGE, "scope": "disk:read", "iat": now - 60, "exp": now + LIFETIME}
        forged = [carried(token, carrier) for _, token in forged_tokens(claims) for carrier in Carrier]
        with trial.with_live_clients(1, _leased_stem(trial)):
            statuses = _send(trial, forged, trial.version)
        after = trial.footprint_after(before)
        trial.check_alive()
        trial.check_secrets()
    saw = _in_words(statuses)
    tried = "tokens with confused algorithms and keys, by bearer, query and cookie"
    return trial.outcome("forged leases", tried, len(forged), saw, (before, after))


def _leased_stem(trial: LeasedTrial) -> str:
    """Return the target of live clients that hold a good lease."""
    token = HS_KEY.lease(lifetime=7200, jti="live")
    trial.note(token)
    return f"{PRIVATE}?lease={token}"


def _mutated(count: int, seed: str) -> Iterator[Sent]:
    rng, carriers = random.Random(seed), tuple(Carrier)
    for _ in range(count):
        yield carried(mutated(rng, time.time()), rng.choice(carriers))


def _in_words(statuses: Counter[int]) -> str:
    return ", ".join(f"{status}: {number:,}" for status, number in sorted(statuses.items()))


def _send(trial: LeasedTrial, requests: Iterable[Sent], version: str) -> Counter[int]:
    """Send all of them one by one; complain of each that is accepted or refused against a second reading."""
    statuses = Counter[int]()
    with ExitStack() as held:
        conn: RawConnection | None = None
        for sent in requests:
            conn = conn or held.enter_context(trial.daemon.dial())
            trial.note(sent.received)
            expected = {_opens(sent, version)}
            conn.send(sent.request)
            try:
                reply = conn.reply()
            except NoReplyError as error:
                trial.check(holds=False, text=f"no answer: {error}: {sent}")
                conn = None
                continue
            expected.add(_opens(sent, version))
            statuses[reply.status] += 1
            judge(trial, sent, reply, expected)
            if reply.get("Connection") == "close":
                conn.close()
                conn = None
    return statuses


def _opens(sent: Sent, version: str) -> bool:
    in_url = sent.carrier is Carrier.QUERY
    return opens(sent.received, _BY_KID, Question(IMAGE, time.time(), in_url, (version,)))


def judge(trial: Trial, sent: Sent, reply: Reply, expected: set[bool]) -> None:
    """Complain of an answer that is none of those expected; `expected` has whether the token is good."""
    if reply.status == 206:
        trial.check(True in expected, f"accepted by {sent.carrier.value}: {sent.received!r}")
        trial.check(reply.body == trial.content.part(0, 10), "wrong bytes")
        return
    trial.check(reply.status in _REFUSALS | {_TOO_OFTEN}, f"status {reply.status}: {sent.received!r}")
    is_refused = reply.status == _TOO_OFTEN or False in expected
    trial.check(is_refused, f"{reply.status} by {sent.carrier.value}, though it is good: {sent.received!r}")
    text = sent.received.encode("utf-8", "surrogatepass")
    is_repeated = len(text) > 20 and text in reply.body + reply.raw_head
    trial.check(not is_repeated, f"the answer repeats the token: {reply.body[:300]!r}")
    if reply.status in {401, 403}:
        trial.check((reply.get("WWW-Authenticate") or "").startswith("Bearer"), f"no challenge: {reply.fields}")
        trial.check("no-store" in (reply.get("Cache-Control") or ""), f"may be kept: {reply.fields}")
