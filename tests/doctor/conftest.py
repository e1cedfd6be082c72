"""A daemon in memory behind a proxy, and how it looks to the doctor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.command_output import CommandResult
from tests.doctor.faulty_proxy import NO_FAULT, FaultyProxy, ProxyFault, handler_of, serving
from tests.doctor.leases import write_catalog, write_keys

from aero_storage.cli.main import run
from aero_storage.cli.output import Output
from aero_storage.doctor.http_client import HttpClient
from aero_storage.doctor.lease import read_claims
from aero_storage.doctor.runner import DoctorReport, run_checks
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import parse_target
from aero_storage.http.leases.carriers import Carrier, Presented


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


@pytest.fixture
def leased(open_proxy: Callable[..., FaultyProxy], tmp_path: Path) -> FaultyProxy:
    """A sound daemon that asks for leases, with a private image and a public one."""
    write_catalog(tmp_path / "images")
    return open_proxy(lease_keys_file=str(write_keys(tmp_path)), virtual_chunks="true", virtual_chunk_bytes="262144")


@pytest.fixture
def unleased(open_proxy: Callable[..., FaultyProxy], tmp_path: Path) -> FaultyProxy:
    """The same daemon, which asks for none."""
    write_catalog(tmp_path / "images")
    return open_proxy(virtual_chunks="true", virtual_chunk_bytes="262144")


def look(
    proxy: FaultyProxy,
    *,
    image: str | None = None,
    origin: str | None = None,
    host: str = "127.0.0.1",
    lease: str | None = None,
) -> DoctorReport:
    target = attrs.evolve(parse_target(proxy.url)[0], host=host)
    shown = None if lease is None else Presented(Carrier.BEARER, lease)
    with closing(HttpClient(target, lease=shown, now=lambda: proxy.clock, pause=proxy.wait)) as client:
        return run_checks(Session(client, image, origin, claims=None if lease is None else read_claims(lease)))


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


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., CommandResult]:
    """Give a function that runs the command; no setting comes from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AERO_")]:
        monkeypatch.delenv(name)

    def call(*words: str) -> CommandResult:
        status = run(["doctor", *words], Output())
        printed = capsys.readouterr()
        return CommandResult(status, printed.out, printed.err)

    return call
