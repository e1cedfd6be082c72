"""A daemon in memory behind a proxy, and how it looks to the doctor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.doctor.site import NO_DAMAGE, Damage, Site, handler_of, serving

from aero_storage.doctor.client import Client
from aero_storage.doctor.examination import Report, examine
from aero_storage.doctor.place import parse_place
from aero_storage.doctor.visit import Visit


@pytest.fixture
def site(make_stack: Callable[..., Any]) -> Iterator[Site]:
    """A sound daemon with one image, in virtual chunks too, and a proxy that damages nothing yet."""
    site = Site(make_stack(virtual_chunks="true", virtual_chunk_bytes="262144"))
    with serving(handler_of(site)) as port:
        site.port = port
        yield site


@pytest.fixture
def examined(site: Site) -> Callable[..., Report]:
    """Give a function that examines the site once the proxy does its damage."""

    def look(
        damage: Damage = NO_DAMAGE, *, image: str | None = None, origin: str | None = None, **client: Any
    ) -> Report:
        site.damage = damage
        asks = Client(parse_place(site.url)[0], **client)
        try:
            return examine(Visit(asks, image, origin))
        finally:
            asks.close()

    return look
