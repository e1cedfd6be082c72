"""Leases over HTTP: what would be wrong with a daemon is noticed."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from tests.blackbox.raw_http import Reply
from torture.image_content import Content
from torture.leases.flooder import guesses
from torture.leases.issuer import ED_KEY, HS_KEY, b64
from torture.leases.mutations import mutated
from torture.leases.over_http import Sent, carried, judge
from torture.leases.pure import NOW, word_of
from torture.leases.token_floods import is_served
from torture.leases.trial import LeasedTrial
from torture.outcome import LiveResult

from aero_storage.http.leases.carriers import Carrier, Presented, presented
from aero_storage.http.request_head import read_strict_head

TOKEN = HS_KEY.lease(now=NOW)
REFUSED = (("WWW-Authenticate", "Bearer"), ("Cache-Control", "no-store"))


def trial() -> LeasedTrial:
    return LeasedTrial(cast("Any", None), Content(100), keys_file=Path("keys"), revocations_file=Path("revoked"))


def reply(status: int, body: bytes = b"", fields: tuple[tuple[str, str], ...] = REFUSED) -> Reply:
    return Reply("HTTP/1.1", status, fields, b"", body)


RIGHT = Content(100).part(0, 10)


@pytest.mark.parametrize(
    ("answer", "expected", "is_right"),
    [
        (reply(206, RIGHT), {True}, True),
        (reply(206, RIGHT), {True, False}, True),
        (reply(206, RIGHT), {False}, False),
        (reply(206, b"x" * 10), {True}, False),
        (reply(401), {False}, True),
        (reply(401), {True}, False),
        (reply(403), {False}, True),
        (reply(429), {True}, True),
        (reply(500), {False}, False),
        (reply(503), {True}, False),
        (reply(200), {True}, False),
        (reply(404), {False}, False),
        (reply(401, fields=REFUSED[:1]), {False}, False),
        (reply(401, fields=REFUSED[1:]), {False}, False),
        (reply(401, TOKEN.encode()), {False}, False),
    ],
)
def test_judge(answer: Reply, expected: set[bool], is_right: bool) -> None:  # noqa: FBT001
    """An answer that a token must not have is a complaint."""
    found = trial()
    judge(found, Sent(b"", TOKEN, Carrier.BEARER), answer, expected)
    assert (found.complaints == []) is is_right


@pytest.mark.parametrize("carrier", Carrier)
def test_carried(carrier: Carrier) -> None:
    """The token that the second reading judges is the one that the daemon finds in the request."""
    rng = random.Random(str(carrier))
    tokens = [mutated(rng, NOW) for _ in range(2000)] + [f" {TOKEN}", f"{TOKEN} ", f"\t{TOKEN}", f"{TOKEN};x", ""]
    heads = 0
    for token in tokens:
        sent = carried(token, carrier)
        request = read_strict_head(sent.request)
        if request is None:
            continue  # odd bytes, which the general parser reads or refuses
        heads += 1
        query = request.target.partition("?")[2]
        found = presented(request.headers.get("authorization"), (query,), request.headers.get("cookie"))
        text = sent.received.encode("utf-8", "surrogatepass").decode("latin-1")
        assert [one.token for one in found] == [text] * bool(text)
    assert heads > 1000


@pytest.mark.parametrize(
    "line",
    [
        TOKEN,
        f"GET /v1/images/disk?lease={TOKEN} HTTP/1.1",
        TOKEN[:60],
        TOKEN.rpartition(".")[2],
        TOKEN.rpartition(".")[2][:24],
        f'{{"reason": "{b64(HS_KEY.secret)}"}}',
        ED_KEY.secret.hex(),
    ],
)
def test_secrets_are_found(line: str) -> None:
    """A token, a part of one, and a key are found in a line."""
    found = trial()
    found.note(TOKEN)
    assert found.secret_in(line.encode())
    assert found.secret_in(HS_KEY.secret)


def test_lines_without_secrets() -> None:
    """Request ids, digits of tokens and names of leases are no secrets."""
    found = trial()
    found.note(TOKEN)
    line = b'{"request_id": "04c1a41f-f54e-41b5-b67d-1b904daec108", "lease": "a94a8fe5", "kid": "hs"}'
    assert not found.secret_in(line)


def test_guesses() -> None:
    """A flood's tokens are all new, and cost a verification each: their signatures are wrong, and nothing else."""
    made = list(islice(guesses(random.Random(1)), 200))
    assert len(set(made)) == 200
    assert {word_of(Presented(Carrier.BEARER, one)) for one in made} == {"bad_signature"}


@pytest.mark.parametrize(
    ("alone", "beside", "is_right"),
    [(0.002, 0.003, True), (0.002, 0.011, True), (0.002, 0.013, False), (0.1, 0.149, True), (0.1, 0.16, False)],
)
def test_floods(alone: float, beside: float, is_right: bool) -> None:  # noqa: FBT001
    """A holder may wait half as long again, or ten milliseconds; of several rounds the median counts."""
    rounds = [attrs.evolve(LiveResult(), p99=p99) for p99 in (0.0, beside, 9.0)]
    assert is_served([LiveResult(p99=alone)], rounds) is is_right
