"""Mutated tokens through the pure code of leases: it accepts the valid ones alone, and refuses with one error."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import attrs

from aero_storage.http.leases.carriers import Carrier, Presented, presented
from aero_storage.http.leases.judgement import Wanted, judge
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.results import LeaseRefusedError, LeaseResult
from aero_storage.http.leases.verification import LeaseVerifier
from torture.leases.issuer import IMAGE, KEYS, key_set
from torture.leases.mutations import mutated
from torture.leases.reference import Question, opens
from torture.outcome import Outcome

NOW = 1_800_000_000.0
VERSIONS = ("v-1",)
_LEEWAY = 30
_PROCESSES = 2
_SHARE = 10_000
_MOST_COMPLAINTS = 20
_VERIFIER = LeaseVerifier(parse_key_set(key_set(KEYS)))
_BY_KID = {key.kid: key for key in KEYS}


@attrs.frozen
class TokenBatch:
    """What became of some tokens: how many had which word, and complaints."""

    words: Counter[str]
    complaints: tuple[str, ...] = ()


def mutated_tokens(count: int, seed: str = "leases") -> Outcome:
    """Verify and judge so many mutated tokens, and compare with a second reading of the contract."""
    start = time.monotonic()
    batches = [examine(number, share, seed) for number, share in _shares(count)] if count <= 2 * _SHARE else []
    if not batches:
        with ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn")) as pool:
            shares = list(_shares(count))
            batches = list(pool.map(examine, *zip(*shares, strict=True), [seed] * len(shares)))
    return _outcome(batches, time.monotonic() - start, seed)


def _shares(count: int) -> Iterator[tuple[int, int]]:
    for number, first in enumerate(range(0, count, _SHARE)):
        yield number, min(_SHARE, count - first)


def _outcome(batches: Sequence[TokenBatch], seconds: float, seed: str) -> Outcome:
    words = sum((batch.words for batch in batches), Counter[str]())
    complaints = [text for batch in batches for text in batch.complaints]
    missing = {str(one) for one in LeaseResult} - {"missing", "wrong_audience", "revoked"} - words.keys()
    if missing:
        complaints.append(f"no token was {', '.join(sorted(missing))}: too little was tried")
    return Outcome(
        "mutated leases",
        f"tokens, mutated, or odd and well signed, verified and judged at {words.total() / seconds:,.0f} a second, "
        f"those accepted and those well signed read a second time (seed {seed})",
        words.total(),
        ", ".join(f"{word}: {number:,}" for word, number in sorted(words.items())),
        complaints=tuple(complaints[:_MOST_COMPLAINTS]),
    )


def examine(number: int, count: int, seed: str) -> TokenBatch:
    """Try one share of the tokens."""
    rng = random.Random(f"{seed} {number}")
    words, complaints = Counter[str](), list[str]()
    for _ in range(count):
        token = mutated(rng, NOW)
        shown = Presented(rng.choice(tuple(Carrier)), token)
        try:
            word = word_of(shown)
            _carry(shown)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault
            complaints.append(f"{type(error).__name__}: {error}: {token!r}")
            continue
        words[word] += 1
        question = Question(IMAGE, NOW, shown.in_url, VERSIONS)
        if (word == LeaseResult.OK) != opens(token, _BY_KID, question):
            complaints.append(f"{word} by {shown.carrier.value}, but a second reading says otherwise: {token!r}")
    return TokenBatch(words, tuple(complaints[:_MOST_COMPLAINTS]))


def word_of(shown: Presented) -> str:
    """Return the daemon's word for a token that asks for the image."""
    try:
        lease = _VERIFIER.verify(shown.token)
    except LeaseRefusedError as error:
        return (
            str(error.result) if shown.token not in str(error) or len(shown.token) < 9 else "a message with a token"
        )
    return str(judge(lease, Wanted(IMAGE, VERSIONS), NOW, _LEEWAY, in_url=shown.in_url))


def _carry(shown: Presented) -> None:
    """Have it found where requests carry it; what is found may be a part of it, but nothing raises."""
    text = shown.token.encode("utf-8", "surrogatepass").decode("latin-1")
    found = presented(f"Bearer {text}", (f"a=b&lease={text}&lease=x",), f"a=b; aero-lease={text}; x=y")
    assert all(one.token for one in found), "an empty token was found"
