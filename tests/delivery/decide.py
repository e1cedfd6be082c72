"""The reply to a request whose representation is open."""

from __future__ import annotations

from aero_storage.delivery.decision import judge
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.representation import Representation


def decide(facts: Facts, policy: Policy, representation: Representation) -> Reply:
    return judge(facts, policy, representation).reply(facts.range)
