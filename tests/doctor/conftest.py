"""A daemon in memory behind a proxy, and how it looks to the doctor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import attrs
import pytest
from tests.doctor.site import NO_DAMAGE, Damage, Site, handler_of, serving

from aero_storage.doctor.client import Client
from aero_storage.doctor.examination import Report, examine
from aero_storage.doctor.place import parse_place
from aero_storage.doctor.visit import Visit


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


def look(site: Site, *, image: str | None = None, origin: str | None = None, host: str = "127.0.0.1") -> Report:
    place = attrs.evolve(parse_place(site.url)[0], host=host)
    with closing(Client(place, now=lambda: site.clock)) as client:
        return examine(Visit(client, image, origin))


@pytest.fixture
def examine_site() -> Callable[..., Report]:
    """Give a function that examines a site."""
    return look


@pytest.fixture
def examined(site: Site) -> Callable[[Damage], Report]:
    """Give a function that examines the site once the proxy does its damage."""

    def examine_damaged(damage: Damage = NO_DAMAGE) -> Report:
        site.damage = damage
        return look(site)

    return examine_damaged
