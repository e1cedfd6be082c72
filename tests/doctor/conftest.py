"""A daemon in memory behind a proxy, and how it looks to the doctor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import attrs
import pytest
from tests.doctor.site import NO_DAMAGE, Damage, Site, handler_of, serving

from aero_storage.doctor.http_client import HttpClient
from aero_storage.doctor.runner import DoctorReport, run_checks
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import parse_target


@pytest.fixture
def open_site(make_stack: Callable[..., Any]) -> Iterator[Callable[..., Site]]:
    """Give a function that makes a sound daemon with these settings, and a proxy that damages nothing yet."""
    with ExitStack() as running:

        def make(**settings: str) -> Site:
            site = Site(make_stack(**settings))
            site.port = running.enter_context(serving(handler_of(site)))
            return site

        yield make


@pytest.fixture
def site(open_site: Callable[..., Site]) -> Site:
    """A sound daemon with one image, in virtual chunks too."""
    return open_site(virtual_chunks="true", virtual_chunk_bytes="262144")


def look(site: Site, *, image: str | None = None, origin: str | None = None, host: str = "127.0.0.1") -> DoctorReport:
    place = attrs.evolve(parse_target(site.url)[0], host=host)
    with closing(HttpClient(place, now=lambda: site.clock)) as client:
        return run_checks(Session(client, image, origin))


@pytest.fixture
def examine_site() -> Callable[..., DoctorReport]:
    """Give a function that examines a site."""
    return look


@pytest.fixture
def examined(site: Site) -> Callable[[Damage], DoctorReport]:
    """Give a function that examines the site once the proxy does its damage."""

    def examine_damaged(damage: Damage = NO_DAMAGE) -> DoctorReport:
        site.damage = damage
        return look(site)

    return examine_damaged
