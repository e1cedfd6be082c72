"""The reply to a request whose representation is open."""

from __future__ import annotations

import attrs

from aero_storage.delivery.decision import judge
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.representation import Representation

NOW = 1_700_000_100.0
"""When every request arrives: 100 seconds after the images were last modified."""


@attrs.frozen
class Asked(Facts):
    """The facts of a request, and the range that goes with them."""

    range: str | None = None


def decide(facts: Asked, policy: Policy, representation: Representation, now: float = NOW) -> Reply:
    return judge(facts, policy, representation, now).reply(facts.range)
