"""A daemon in memory behind a proxy, and how it looks to the doctor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import attrs
import pytest
from tests.doctor.faulty_proxy import NO_FAULT, FaultyProxy, ProxyFault, handler_of, serving

from aero_storage.doctor.http_client import HttpClient
from aero_storage.doctor.runner import DoctorReport, run_checks
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import parse_target


@pytest.fixture
def open_proxy(make_stack: Callable[..., Any]) -> Iterator[Callable[..., FaultyProxy]]:
    """Give a function that makes a sound daemon with these settings, and a proxy that changes nothing yet."""
    with ExitStack() as running:

        def make(**settings: str) -> FaultyProxy:
            proxy = FaultyProxy(make_stack(**settings))
            proxy.port = running.enter_context(serving(handler_of(proxy)))
            return proxy

        yield make


@pytest.fixture
def proxy(open_proxy: Callable[..., FaultyProxy]) -> FaultyProxy:
    """A sound daemon with one image, in virtual chunks too."""
    return open_proxy(virtual_chunks="true", virtual_chunk_bytes="262144")


def look(
    proxy: FaultyProxy, *, image: str | None = None, origin: str | None = None, host: str = "127.0.0.1"
) -> DoctorReport:
    target = attrs.evolve(parse_target(proxy.url)[0], host=host)
    with closing(HttpClient(target, now=lambda: proxy.clock, pause=proxy.wait)) as client:
        return run_checks(Session(client, image, origin))


@pytest.fixture
def examine_proxy() -> Callable[..., DoctorReport]:
    """Give a function that examines the daemon behind a proxy."""
    return look


@pytest.fixture
def examined(proxy: FaultyProxy) -> Callable[[ProxyFault], DoctorReport]:
    """Give a function that examines the proxy once the proxy has this fault."""

    def examine_damaged(fault: ProxyFault = NO_FAULT) -> DoctorReport:
        proxy.fault = fault
        return look(proxy)

    return examine_damaged
