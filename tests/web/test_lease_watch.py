"""Responses whose leases have ended or are revoked: which are reset, when, and what that costs."""

from __future__ import annotations

import json
from contextlib import suppress
from math import inf

import attrs
import pytest
from tests.lease_tokens import KEYS, NOW, OCT, key_document
from twisted.internet.task import Clock

from aero_storage.delivery.exchange import Ending
from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.http.leases.claims import Claims
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.revocations import Revocations, read_revocations
from aero_storage.http.leases.verification import Lease, LeaseRules
from aero_storage.web.lease_watch import LOOK_SECONDS, RESET_LOOKS, SLICE_LOOKS, LeaseWatch

GRACE = 3600.0
MINUTE = 60.0


def lease_of(expires_at: float = NOW + 15 * MINUTE) -> Lease:
    images, scopes = ("win98", "dos"), frozenset({"disk:read"})
    claims = Claims(images, scopes, NOW - MINUTE, expires_at, subject="ada", identifier="lease-1")
    return Lease("hs", "lease-1", claims)


@attrs.define(eq=False)
class Stream:
    """A response, and the connection that sends it."""

    lease: Lease | None = attrs.field(factory=lease_of)
    image_id: str | None = "win98"
    lease_until: float = inf
    is_under_way: bool = True
    endings: list[Ending] = attrs.field(factory=list)
    looks: int = 0

    @property
    def response(self) -> Stream | None:
        self.looks += 1
        return self if self.is_under_way else None

    def end_lease(self, ending: Ending) -> None:
        self.endings.append(ending)
        self.is_under_way = False


def revoked(*lines: dict[str, object]) -> Revocations:
    return read_revocations([json.dumps(line).encode() for line in lines], 0.0)


@attrs.define(eq=False)
class Site:
    """Streams that are watched."""

    clock: Clock = attrs.field(factory=Clock)
    wall: float = NOW
    streams: set[Stream] = attrs.field(factory=set)
    leases: LeasesInForce = attrs.field(
        factory=lambda: LeasesInForce.of(parse_key_set(KEYS), LeaseRules(stream_grace=GRACE))
    )
    watch: LeaseWatch = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.watch = LeaseWatch(self.clock, self.streams, self.leases, lambda: self.wall)

    def begin(self, lease: Lease | None = None) -> Stream:
        stream = Stream(lease or lease_of())
        self.streams.add(stream)
        assert stream.lease is not None
        self.watch.begin(stream, stream.lease)
        return stream

    def wait(self, lease: Lease | None = None) -> Stream:
        """A request that has no head yet, or a response to one that needed no lease."""
        stream = Stream(lease)
        self.streams.add(stream)
        return stream

    def let_pass(self, seconds: float) -> None:
        """Let time pass by both clocks."""
        self.wall += seconds
        self.clock.advance(seconds)

    def turn(self, times: int = 1) -> None:
        """Make the calls that are due, and not those that they ask for: a Clock would make them all at once."""
        for _ in range(times):
            for call in [call for call in self.clock.calls if call.getTime() <= self.clock.seconds()]:
                self.clock.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)

    def revoke(self, *lines: dict[str, object]) -> None:
        self.leases.replace(revocations=revoked(*lines))


@pytest.fixture
def site() -> Site:
    return Site()


def test_the_end_of_the_grace(site: Site) -> None:
    """A response goes on until the grace after `exp` is over, and at most one look longer."""
    stream = site.begin()
    site.let_pass(15 * MINUTE + GRACE - 1)
    assert stream.endings == []
    site.let_pass(1 + LOOK_SECONDS)
    assert stream.endings == [Ending.LEASE_EXPIRED]


def test_a_head_after_the_end_of_the_lease(site: Site) -> None:
    """A lease that has ended, within the leeway, gives the whole grace from the head on."""
    stream = site.begin(lease_of(NOW - 20))
    site.let_pass(GRACE - 1)
    assert stream.endings == []
    site.let_pass(1 + LOOK_SECONDS)
    assert stream.endings == [Ending.LEASE_EXPIRED]


@pytest.mark.parametrize("step", [-1e6, -GRACE, GRACE, 1e6])
def test_steps_of_the_wall_clock(site: Site, step: float) -> None:
    """A wall clock that is set after the head makes no response end sooner or later."""
    stream = site.begin()
    site.wall += step
    site.let_pass(15 * MINUTE + GRACE - 1)
    assert stream.endings == []
    site.let_pass(1 + LOOK_SECONDS)
    assert stream.endings == [Ending.LEASE_EXPIRED]


def test_each_at_its_time(site: Site) -> None:
    """Of many responses each ends at its own time, in whatever order they came, and one timer serves them all."""
    minutes = [7, 1, 12, 3, 3, 9]
    streams = [site.begin(lease_of(NOW + minute * MINUTE)) for minute in minutes]
    assert len(site.clock.getDelayedCalls()) == 1
    site.let_pass(GRACE)
    for minute in range(1, 14):
        site.let_pass(MINUTE - 1)
        assert [bool(stream.endings) for stream in streams] == [due < minute for due in minutes]
        site.let_pass(1)
        assert [bool(stream.endings) for stream in streams] == [due <= minute for due in minutes]
    assert not site.clock.getDelayedCalls()


def test_one_that_begins_during_a_round(site: Site) -> None:
    """A response that begins while others are looked at is ended at its time, too."""
    for _ in range(SLICE_LOOKS + 1):
        site.begin()
    site.wall += 15 * MINUTE + GRACE + LOOK_SECONDS
    site.clock.rightNow += 15 * MINUTE + GRACE + LOOK_SECONDS
    site.turn()
    assert any(stream.endings for stream in site.streams)
    late = site.begin(lease_of(site.wall))
    site.turn(2 * RESET_LOOKS)
    assert all(stream.endings for stream in site.streams - {late})
    site.let_pass(GRACE + LOOK_SECONDS)
    assert late.endings == [Ending.LEASE_EXPIRED]


def test_a_request_that_waits(site: Site) -> None:
    """A request that waits for its head is not ended by time; its lease was judged when it came."""
    stream = site.wait(lease_of(NOW - 20))
    other = site.begin(lease_of(NOW - GRACE))
    site.let_pass(GRACE + LOOK_SECONDS)
    assert (other.endings, stream.endings) == ([Ending.LEASE_EXPIRED], [])


def test_responses_without_leases(site: Site) -> None:
    """Neither time nor revocations end the response to a request that needed no lease."""
    public = site.wait()
    site.begin()
    site.revoke({"jti": "lease-1"}, {"img": "win98", "before": NOW + 1e6})
    site.let_pass(2 * GRACE)
    assert public.endings == []


REVOCATIONS = [
    {"jti": "lease-1"},
    {"kid": "hs"},
    {"sub": "ada", "before": NOW},
    {"img": "win98", "before": NOW},
]


@pytest.mark.parametrize("line", REVOCATIONS, ids=lambda line: next(iter(line)))
@pytest.mark.parametrize("waits", [False, True])
def test_a_revocation(site: Site, line: dict[str, object], waits: bool) -> None:  # noqa: FBT001 - a parameter
    """Each kind of revocation ends what the lease opened at once, also a request that waits for its head."""
    stream = site.wait(lease_of()) if waits else site.begin()
    site.revoke(line)
    site.turn()
    assert stream.endings == [Ending.LEASE_REVOKED]


@pytest.mark.parametrize(
    "line",
    [
        {"jti": "lease-2"},
        {"kid": "ed"},
        {"sub": "ada", "before": NOW - MINUTE},
        {"sub": "bob", "before": NOW},
        {"img": "dos", "before": NOW},
        {"img": "win98", "before": NOW - MINUTE},
    ],
    ids=json.dumps,
)
def test_the_revocation_of_others(site: Site, line: dict[str, object]) -> None:
    """Other leases, later ones, and other images of the same lease go on."""
    stream = site.begin()
    site.revoke(line)
    site.turn(3)
    assert stream.endings == []


def test_a_removed_key(site: Site) -> None:
    """A key that is taken away ends no response that is under way."""
    stream = site.begin()
    site.leases.replace(keys=parse_key_set(key_document(OCT | {"kid": "new"})))
    site.turn(3)
    assert (stream.endings, stream.looks) == ([], 0)


def test_thousands_of_streams(site: Site) -> None:
    """A change looks at every stream once, and no turn of the reactor at more than its slice."""
    streams = [site.begin() for _ in range(5000)]
    site.revoke({"jti": "lease-2"})
    before, turns = 0, 0
    while (looks := sum(stream.looks for stream in streams)) < len(streams):
        assert 0 < looks - before <= SLICE_LOOKS
        before = looks
        site.turn()
        turns += 1
    assert turns == len(streams) // SLICE_LOOKS
    site.turn(100)
    assert {stream.looks for stream in streams} == {1}


def test_thousands_of_resets(site: Site) -> None:
    """Resets cost more than looks: fewer go into one turn, and all are made."""
    streams = [site.begin() for _ in range(500)]
    site.revoke({"jti": "lease-1"})
    before = 0
    for _ in range(len(streams) * RESET_LOOKS // SLICE_LOOKS + 1):
        ended = sum(bool(stream.endings) for stream in streams)
        assert ended - before <= SLICE_LOOKS // RESET_LOOKS
        before = ended
        site.turn()
    assert all(stream.endings == [Ending.LEASE_REVOKED] for stream in streams)


def test_a_change_during_a_round(site: Site) -> None:
    """Revocations that come while streams are looked at are applied to all of them, also to those already seen."""
    streams = [site.begin() for _ in range(SLICE_LOOKS + 10)]
    site.revoke({"jti": "lease-2"})
    site.revoke({"jti": "lease-1"})
    site.turn(len(streams) * RESET_LOOKS // SLICE_LOOKS + 5)
    assert all(stream.endings == [Ending.LEASE_REVOKED] for stream in streams)


def test_one_that_raises(site: Site) -> None:
    """A defect of one connection keeps no other one open, and the next round is made."""

    class Broken(Stream):
        def end_lease(self, ending: Ending) -> None:
            self.endings.append(ending)
            raise ZeroDivisionError

    broken = Broken()
    site.streams.add(broken)
    streams = [site.begin() for _ in range(20)]
    with suppress(ZeroDivisionError):
        site.revoke({"jti": "lease-1"})
    for _ in range(4):
        with suppress(ZeroDivisionError):
            site.turn()
    assert broken.endings
    assert all(stream.endings == [Ending.LEASE_REVOKED] for stream in streams)


def test_one_that_is_complete(site: Site) -> None:
    """A response that has ended meanwhile is left alone."""
    stream = site.begin()
    stream.is_under_way = False
    site.revoke({"jti": "lease-1"})
    site.let_pass(2 * GRACE)
    assert stream.endings == []


def test_no_stream_is_left(site: Site) -> None:
    """Without streams there is no timer, whatever was under way; the next stream starts anew."""
    for _ in range(SLICE_LOOKS + 1):
        site.begin()
    site.clock.rightNow += 15 * MINUTE + GRACE + LOOK_SECONDS
    site.turn()
    site.revoke({"jti": "lease-2"})
    site.begin()
    assert len(site.clock.getDelayedCalls()) == 2
    site.streams.clear()
    site.watch.stop()
    assert not site.clock.getDelayedCalls()
    site.wall += 15 * MINUTE + GRACE + LOOK_SECONDS
    stream = site.begin(lease_of(site.wall))
    site.let_pass(GRACE + LOOK_SECONDS)
    assert stream.endings == [Ending.LEASE_EXPIRED]
