"""Remembers the decisions for a request, for the next one that differs from it in range and id alone.

A plan holds the route, the facts and, once a file was open, the decision. The raw bytes of a head find it: a known
head needs no parser and no router. `--no-express` turns the memory off: then every head goes through both, and the
responses are the same.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aero_storage.delivery.access_record import AccessRecord
from aero_storage.delivery.byte_handler import Memo
from aero_storage.delivery.facts import Facts, Names, read_facts
from aero_storage.delivery.routes import Route
from aero_storage.errors import StatusAndReason
from aero_storage.http.conditional import UNCONDITIONAL
from aero_storage.http.request_head import HeadKey, RequestHead, may_be_remembered, range_place, split_varying
from aero_storage.values import request_value
from aero_storage.web.response_head import HeadWriter

_MAX_PLANS = 256
"""Of some 4 KiB each; more would fill up over hours with heads that come once."""


@attrs.define(eq=False)
class Around:
    """The bytes around the positions of a range in all heads of one plan; no head begins so before they are known."""

    before: bytes = attrs.field(default=b"\n", repr=False)
    behind: bytes = attrs.field(default=b"", repr=False)
    start: int = 0
    """Where the positions begin."""
    end: int = 0
    """Where they end, counted from the end of the head."""

    def learn(self, head: bytes) -> None:
        """Take them from one of the heads, if nothing else in these differs."""
        place = range_place(head)
        if place is not None:
            self.before, self.behind = head[: place.start], head[place.stop :]
            self.start, self.end = place.start, place.stop - len(head)


_BYTE_METHODS = frozenset({"GET", "HEAD"})


@request_value
class ResponsePlan:
    """The decisions for all requests that differ in nothing but their range and id."""

    facts: Facts
    record: AccessRecord
    persistent: bool
    """Whether the client lets the connection stay open."""
    refusal: StatusAndReason | None = None
    """How the request is refused before its route is looked at."""
    wants_bytes: bool = attrs.field(kw_only=True)
    """Whether it may be answered from an open file."""
    memo: Memo = attrs.field(init=False, factory=Memo)
    head: HeadWriter = attrs.field(init=False, factory=HeadWriter)
    around: Around = attrs.field(init=False, factory=Around, repr=False)


PlannedRequest = tuple[ResponsePlan, str | None, str | None]
"""A plan, and what differs from one request to the next: the values of `Range` and `X-Request-Id`."""

FindPlan = Callable[[bytes], PlannedRequest | None]
"""Finds the plan of a complete head."""


@attrs.define(eq=False)
class ResponsePlans:
    """Makes plans, and remembers them if `enabled`; `now` gives seconds since the epoch."""

    _make_record: Callable[[Facts], AccessRecord]
    _now: Callable[[], float]
    enabled: bool
    _plans: dict[HeadKey, ResponsePlan] = attrs.field(init=False, factory=dict, repr=False)

    def find(self, raw: bytes) -> PlannedRequest | None:
        """The plan of a complete head, if it is known; `raw` may be anything."""
        if not self._plans:
            return None
        key, range_value, request_id = split_varying(raw)
        plan = self._plans.get(key)
        return None if plan is None else (plan, range_value, request_id)

    def make(self, head: RequestHead, raw: bytes, route: Route | None, names: Names) -> PlannedRequest:
        """The plan of a head that was routed; remembered, unless something of it holds for this one request alone."""
        plan = self._make(head, route, names, None)
        if self.enabled and route is not None and not head.announces_body:
            self._keep(raw, head, plan)
        return plan, head.headers.get("range"), head.headers.get("x-request-id")

    def make_refusal(self, head: RequestHead, refusal: StatusAndReason) -> PlannedRequest:
        """The plan of a head that is refused before it is routed."""
        plan = self._make(head, None, Names(), refusal)
        return plan, None, head.header("X-Request-Id")

    def _make(
        self, head: RequestHead, route: Route | None, names: Names, refusal: StatusAndReason | None
    ) -> ResponsePlan:
        facts = read_facts(
            method=head.method,
            path=head.path,
            query=head.query,
            route=route,
            names=names,
            headers=head.headers,
            announces_body=head.announces_body,
            now=self._now(),
        )
        is_bytes = route is not None and route.takes_place and head.method in _BYTE_METHODS
        wants_bytes = is_bytes and refusal is None and not head.announces_body
        return ResponsePlan(facts, self._make_record(facts), head.persistent, refusal, wants_bytes=wants_bytes)

    def _keep(self, raw: bytes, head: RequestHead, plan: ResponsePlan) -> None:
        key, range_value, request_id = split_varying(raw)
        if plan.facts.preconditions is not UNCONDITIONAL or not may_be_remembered(head, range_value, request_id):
            return
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        self._plans[key] = plan
        plan.memo.is_kept = plan.record.is_kept = True
