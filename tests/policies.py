"""Policies for tests: what the table of settings has by default, but for what a test changes."""

from __future__ import annotations

from typing import Any

import attrs

from aero_storage.delivery.policy import Policy
from aero_storage.http.cors import CorsPolicy
from aero_storage.service.composition import policy_of
from aero_storage.settings import Settings


def policy_with(**changes: Any) -> Policy:
    """The policy of a daemon without any flag, with these fields changed."""
    return attrs.evolve(policy_of(Settings()), **changes)


def cors_with(*cors_origin: str) -> CorsPolicy:
    """The default of CORS, but for the origins."""
    return attrs.evolve(policy_of(Settings()).cors, cors_origin=cors_origin)
