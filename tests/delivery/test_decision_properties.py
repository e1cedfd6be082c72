"""What holds of every decision, whatever is asked."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from tests.delivery.decide import Asked, decide
from tests.policies import policy_with

from aero_storage.delivery.policy import Policy
from aero_storage.delivery.representation import Representation
from aero_storage.delivery.routes import ROUTES, Resource
from aero_storage.http.caching import Caching
from aero_storage.http.conditional import Validators
from aero_storage.http.ranges import Segment

VALIDATORS = Validators('"v1"', 1_700_000_000_500_000_000)

FACTS = Asked("GET", "/v1/images/x", next(route for route in ROUTES if route.resource is Resource.IMAGE))
sizes = st.one_of(st.integers(0, 20), st.integers(0, 2**70))
numbers = st.one_of(st.integers(0, 25), st.integers(0, 2**65)).map(str)
well_formed = st.builds("bytes={}-{}".format, st.one_of(st.just(""), numbers), st.one_of(st.just(""), numbers))
limits = st.one_of(st.integers(1, 20), st.integers(1, 2**70))
policies = st.builds(
    policy_with,
    max_range_bytes=limits,
    open_ended_ranges=st.sampled_from(["stream", "limit"]),
    require_range=st.booleans(),
)
representations = st.builds(Representation, sizes, st.just(VALIDATORS), st.just(Caching("no-cache")))


@given(well_formed, representations, policies)
def test_parts_are_what_they_say(header: str, representation: Representation, policy: Policy) -> None:
    """A 206 lies in the image, and its Content-Range and length are those of the bytes that are sent."""
    reply = decide(attrs.evolve(FACTS, range=header), policy, representation)
    headers, segment = dict(reply.headers), reply.segment
    assert ("Content-Range" in headers) is (reply.status in {206, 416})
    if reply.status == 206:
        assert segment is not None
        assert 0 <= segment.offset < segment.offset + segment.length <= representation.size
        last = segment.offset + segment.length - 1
        assert headers["Content-Range"] == f"bytes {segment.offset}-{last}/{representation.size}"
        assert reply.length == segment.length > 0
    elif reply.status == 200:
        assert segment == Segment(0, representation.size)
        assert reply.length == representation.size
    else:
        assert segment is None
        assert reply.length == 0


@given(well_formed, representations, policies)
def test_limits_never_shorten(header: str, representation: Representation, policy: Policy) -> None:
    """A limit refuses or lets through: what is sent under it is what is sent without."""
    facts = attrs.evolve(FACTS, range=header)
    unlimited = attrs.evolve(policy, max_range_bytes=None)
    limited = decide(facts, policy, representation)
    assert limited.status == 413 or limited == decide(facts, unlimited, representation)


@given(st.one_of(well_formed, st.text(max_size=30)), representations, policies)
def test_head_is_get(header: str, representation: Representation, policy: Policy) -> None:
    """Whatever the range, HEAD gets the status and headers of GET, where no range is required."""
    policy = attrs.evolve(policy, require_range=False)
    replies = (
        decide(attrs.evolve(FACTS, method=method, range=header), policy, representation) for method in ("GET", "HEAD")
    )
    get, head = replies
    assert get == head


@given(st.one_of(st.none(), well_formed, st.text(max_size=30)), representations, policies)
def test_required_range_sends_no_full_body(
    header: str | None, representation: Representation, policy: Policy
) -> None:
    """With `--require-range` no GET gets a 200, nor more bytes than the limit."""
    policy = attrs.evolve(policy, require_range=True)
    reply = decide(attrs.evolve(FACTS, range=header), policy, representation)
    assert reply.status in {206, 413, 416}
    assert policy.max_range_bytes is not None
    assert (reply.length or 0) <= policy.max_range_bytes
