"""Who may have what: the tokens of a request against the rules; what is remembered of them changes no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.delivery.conftest import Bench, ask, drive
from tests.lease_tokens import KEYS, NOW, with_claims
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from aero_storage.catalog.model import Catalog, Image
from aero_storage.delivery.access import LeaseAccess, LeaseMemo, is_closed
from aero_storage.delivery.lease_replies import LeaseDeniedError
from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.delivery.token_verification import TokenVerification
from aero_storage.errors import LeaseLimitError
from aero_storage.http.forwarded import TrustedProxies
from aero_storage.http.leases.failure_limit import FailureLimit
from aero_storage.http.leases.judgement import Verdict, Wanted, choose, judge
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.results import LeaseRefusedError, LeaseResult
from aero_storage.http.leases.revocations import read_revocations
from aero_storage.http.leases.verification import LeaseRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aero_storage.delivery.exchange import Exchange
    from aero_storage.http.leases.carriers import Presented

PRIVATE = Image("win98", "win98.img", "Windows", public=False)
PUBLIC = Image("open", "open.img", "Open")
PATH = "/v1/images/win98"
GOOD = with_claims(jti="good")
OTHER_IMAGE = with_claims(img="other")
ONE_VERSION = with_claims(ver="v-1", jti="one-version")
BAD = GOOD[:-4] + "AAAA"
POOL = {
    "good": GOOD,
    "in a while": with_claims(nbf=int(NOW) + 100, jti="in-a-while"),
    "short": with_claims(exp=int(NOW) + 50, jti="short"),
    "not in a URL": with_claims(uexp=int(NOW) + 50, jti="not-in-a-url"),
    "another image": OTHER_IMAGE,
    "no scope": with_claims(scope=""),
    "one version": ONE_VERSION,
    "another version": with_claims(ver="v-2"),
    "junk": "junk",
    "bad": BAD,
    "revoked": with_claims(jti="revoked"),
}


@attrs.define(eq=False)
class Desk:
    """Access to a catalog of two images, with clocks that stand still."""

    limit: int = 0
    now: float = NOW
    bench: Bench = attrs.field(factory=Bench)
    leases: LeasesInForce = attrs.field(init=False)
    verification: TokenVerification = attrs.field(init=False)
    access: LeaseAccess = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        revoked = read_revocations([b'{"jti": "revoked"}'], 0.0)
        self.leases = LeasesInForce.of(parse_key_set(KEYS), LeaseRules(), revoked)
        clock = self.bench.clock
        self.verification = TokenVerification(
            self.leases, FailureLimit(self.limit), clock, clock.seconds, clock.seconds
        )
        self.access = LeaseAccess(
            self.leases, self.verification, self.bench.current_catalog, TrustedProxies(), lambda: self.now
        )
        self.bench.serve(PRIVATE, PUBLIC)

    def use_up(self) -> None:
        """Spend the time for new tokens of this second."""
        self.verification._budget.spend(1.0, self.bench.clock.seconds())  # noqa: SLF001

    def exchange(self, tokens: Sequence[str] = (), path: str = PATH) -> Exchange:
        return self.bench.exchange(carried(tokens, path))

    def verdict(self, exchange: Exchange) -> Verdict | None:
        try:
            drive(self.access.admit(exchange))
        except LeaseDeniedError as error:
            return error.verdict
        return exchange.verdict

    def verdict_now(self, exchange: Exchange, memo: LeaseMemo) -> Verdict | None:
        try:
            assert self.access.admit_now(exchange, PRIVATE, memo)
        except LeaseDeniedError as error:
            return error.verdict
        return exchange.verdict


def carried(tokens: Sequence[str], path: str = PATH):  # type: ignore[no-untyped-def]  # noqa: ANN201 - Asked
    """The facts of a request with a token in each carrier: header, query, two cookies."""
    bearer, query, secure, plain = [*tokens, *[""] * (4 - len(tokens))]
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    cookies = [f"{name}={one}" for name, one in (("__Secure-aero-lease", secure), ("aero-lease", plain)) if one]
    if cookies:
        headers["Cookie"] = "; ".join(cookies)
    return ask(path, headers, query=f"lease={query}" if query else "")


def expected(desk: Desk, shown: Sequence[Presented], versions: tuple[str, ...] | None = None) -> LeaseResult:
    """The answer by the rules alone: every token verified and judged, without a memory."""

    def verdict(one: Presented) -> Verdict:
        try:
            lease = desk.leases.verifier.verify(one.token)
        except LeaseRefusedError as error:
            return Verdict(error.result, one)
        wanted = Wanted("win98", versions)
        return Verdict(judge(lease, wanted, desk.now, 30.0, in_url=one.in_url), one, lease)

    return choose(map(verdict, shown)).result


TOKENS = st.lists(st.sampled_from(list(POOL)), max_size=4)


@given(TOKENS, st.lists(st.sampled_from([-200, 0, 60, 90, 120, 900]), min_size=1, max_size=4))
@settings(deadline=None)
def test_against_the_rules(names: list[str], times: list[int]) -> None:
    """Whatever is presented, at whatever time, the answer is that of the rules, also where heads are remembered."""
    desk, tokens, memo = Desk(), [POOL[name] for name in names], LeaseMemo()
    for seconds in times:
        desk.now = NOW + seconds
        exchange, remembering = desk.exchange(tokens), desk.exchange(tokens)
        wanted = expected(desk, desk.access._presented(exchange))  # noqa: SLF001
        verdict = desk.verdict(exchange)
        assert verdict is not None
        assert verdict.result is wanted
        assert (exchange.lease is not None) is (wanted is LeaseResult.OK)
        remembered = desk.verdict_now(remembering, memo)
        assert remembered is not None
        assert (remembered.result, remembered.name) == (wanted, verdict.name)


@given(TOKENS, st.sampled_from(["v-1", "v-2", "v-3"]))
@settings(deadline=None)
def test_versions_against_the_rules(names: list[str], version: str) -> None:
    """Once the version is known, the answer is that of all tokens for this version."""
    desk = Desk()
    exchange = desk.exchange([POOL[name] for name in names])
    shown = desk.access._presented(exchange)  # noqa: SLF001
    verdict = desk.verdict(exchange)
    if verdict is not None and verdict.result is LeaseResult.OK:
        try:
            desk.access.settle(exchange, (version,))
        except LeaseDeniedError as error:
            verdict = error.verdict
        else:
            verdict = exchange.verdict
        assert verdict is not None
        assert verdict.result is expected(desk, shown, (version,))


# What hangs on a lease


@pytest.mark.parametrize(
    ("image", "listing", "closed"),
    [(PRIVATE, False, True), (PUBLIC, False, False), (None, False, True), (None, True, False), (PUBLIC, True, False)],
)
def test_closed(image: Image | None, *, listing: bool, closed: bool) -> None:
    """Private images and unknown ids hang on a lease; in a directory listing nothing does."""
    assert is_closed(Catalog((PUBLIC,), listing=listing), image) is closed


@pytest.mark.parametrize(
    "path", ["/v1/images/open", "/v1/images", "/healthz", "/metrics", "/nowhere", "/v1/images/%2e%2e"]
)
def test_what_asks_for_no_lease(path: str) -> None:
    """For a public image, an operator's route and an invalid id no token is looked at."""
    desk = Desk()
    exchange = desk.exchange([BAD, "junk"], path)
    assert desk.verdict(exchange) is None
    assert not len(desk.leases.remembered)


# The memory of a head


def test_another_verifier() -> None:
    """With other keys or revocations in force a head is judged anew."""
    desk, memo = Desk(), LeaseMemo()
    assert desk.access.admit_now(desk.exchange([GOOD]), PRIVATE, memo)
    desk.leases.replace(revocations=read_revocations([b'{"jti": "good"}'], 0.0))
    with pytest.raises(LeaseDeniedError) as caught:
        desk.access.admit_now(desk.exchange([GOOD]), PRIVATE, memo)
    assert caught.value.verdict.result is LeaseResult.REVOKED


def test_the_memory_is_used() -> None:
    """A head that was answered before is not taken apart again."""
    desk, memo = Desk(), LeaseMemo()
    assert desk.access.admit_now(desk.exchange([OTHER_IMAGE, GOOD]), PRIVATE, memo)
    first, memo_of_another_head = memo.verdict, desk.exchange(["junk"])
    assert desk.access.admit_now(memo_of_another_head, PRIVATE, memo)
    assert memo_of_another_head.verdict is first


def test_an_earlier_token_becomes_good() -> None:
    """A head whose first lease was not good yet gets the answer of that one, once it is."""
    desk, memo = Desk(), LeaseMemo()
    tokens = [POOL["in a while"], GOOD]
    assert desk.access.admit_now(desk.exchange(tokens), PRIVATE, memo)
    assert (memo.verdict is not None and memo.verdict.name) == "good"
    desk.now += 100
    verdict = desk.verdict_now(desk.exchange(tokens), memo)
    assert (verdict is not None and verdict.name) == "in-a-while"


def test_bad_tokens_are_not_remembered() -> None:
    """Where a refused token stands before the good one, the head is taken apart each time."""
    desk, memo = Desk(), LeaseMemo()
    assert desk.access.admit_now(desk.exchange([BAD, GOOD]), PRIVATE, memo)
    assert memo.verdict is None


# Waiting


def test_waiting_takes_no_place() -> None:
    """A request whose token has to wait takes no place, and goes on when its turn has come."""
    desk = Desk()
    desk.use_up()
    exchange = desk.exchange([GOOD])
    assert not desk.access.admit_now(exchange, PRIVATE, LeaseMemo())
    admitted = Deferred.fromCoroutine(desk.access.admit(exchange))
    assert (admitted.called, exchange.waiting, desk.bench.admission.taken) == (False, True, 0)
    for _ in range(110):
        desk.bench.clock.advance(0.01)
    assert (admitted.called, exchange.waiting) == (True, False)
    assert exchange.lease is not None


def test_a_client_that_goes() -> None:
    """A request that is cancelled while its token waits leaves nothing behind."""
    desk = Desk()
    desk.use_up()
    exchange = desk.exchange([GOOD])
    ends: list[object] = []
    admitted = Deferred.fromCoroutine(desk.access.admit(exchange))
    admitted.addBoth(ends.append)
    admitted.cancel()
    assert isinstance(ends[0], Failure)
    assert ends[0].check(CancelledError)
    assert (desk.verification.waiting, exchange.waiting) == (0, False)
    assert not desk.bench.clock.getDelayedCalls()


def test_remembered_tokens_never_wait() -> None:
    """A token that was seen before opens the image while another one that stands before it would have to wait."""
    desk = Desk()
    desk.verdict(desk.exchange([GOOD]))
    desk.use_up()
    verdict = desk.verdict(desk.exchange([with_claims(jti="new"), GOOD]))
    assert (verdict is not None and verdict.name) == "good"


def test_failures_of_one_request() -> None:
    """A request with several bad tokens is refused with their word as long as all were verified, then limited."""
    desk = Desk(limit=3)
    first = desk.verdict(desk.exchange(["junk"]))
    assert first is not None
    assert first.result is LeaseResult.MALFORMED
    assert desk.verdict(desk.exchange([BAD, "junk"])) is not None
    with pytest.raises(LeaseLimitError):
        desk.verdict(desk.exchange([BAD]))
    with pytest.raises(LeaseLimitError):
        desk.access.admit_now(desk.exchange([GOOD]), PRIVATE, LeaseMemo())


def test_a_lease_for_one_version_beside_the_limit() -> None:
    """A remembered lease for one version opens the image, though a new token beside it is not verified any more."""
    desk = Desk(limit=1)
    desk.verdict(desk.exchange([ONE_VERSION]))
    desk.verdict(desk.exchange(["junk"]))
    exchange = desk.exchange([ONE_VERSION, GOOD])
    verdict = desk.verdict(exchange)
    assert (verdict is not None and verdict.name) == "one-version"
    desk.access.settle(exchange, ("v-1",))


def test_a_refusal_is_one_answer() -> None:
    """A request that was judged is not judged again on its way."""
    desk = Desk()
    exchange = desk.exchange([GOOD])
    assert desk.verdict(exchange) is desk.verdict(exchange)
    assert desk.access.admit_now(exchange, PRIVATE, LeaseMemo())
