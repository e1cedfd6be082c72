"""The files of leases while several workers run: changes, faults, and workers that start while a file is broken."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import SHOWS_WITHIN, until
from tests.blackbox.worker_processes import START_SECONDS, two_workers, wait_for_replacement, worker_pids
from tests.lease_tokens import OCT, OKP, SECRET, b64, key_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon, Line

INVALID = "aero_storage_lease_keys_invalid"


def put(path: Path, data: bytes) -> None:
    """Replace a file as a program does that keeps secrets."""
    new = path.with_name("new")
    new.write_bytes(data)
    new.chmod(0o600)
    new.replace(path)


@pytest.fixture
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """Two workers with one key, and one revocation."""
    path = home("lease_files")
    path.mkdir(exist_ok=True)
    put(path / "keys", key_document(OCT))
    put(path / "revoked", b'{"jti": "a"}\n')
    flags = f"--lease-keys-file={path / 'keys'}", f"--lease-revocations-file={path / 'revoked'}"
    with two_workers(path, *flags) as daemon:
        yield daemon


def told(daemon: Daemon, message: str, since: int = 0) -> dict[int, Line]:
    """The last such line of each worker."""
    return {line["worker"]: line for line in daemon.lines(since) if line["message"] == message}


def test_all_workers_follow(daemon: Daemon) -> None:
    """Other keys and revocations come into force in all workers within a second; SIGHUP reads both in all of them."""
    assert told(daemon, "lease keys loaded").keys() == {1, 2}
    since = daemon.log_size()
    put(daemon.home / "keys", key_document(OCT, OKP))
    put(daemon.home / "revoked", b'{"jti": "a"}\n{"jti": "b"}\n')
    for name in ("keys", "revocations"):
        until(lambda: told(daemon, f"lease {name} loaded", since).keys() == {1, 2}, SHOWS_WITHIN)  # noqa: B023
        assert {line[name] for line in told(daemon, f"lease {name} loaded", since).values()} == {2}
    metrics = daemon.metrics()
    assert (metrics.value("aero_storage_lease_keys"), metrics.value("aero_storage_lease_revocations")) == (2, 2)
    assert metrics.value("aero_storage_lease_reload_total", document="keys", result="success") == 4
    since = daemon.log_size()
    daemon.hang_up()
    until(lambda: told(daemon, "lease keys loaded", since).keys() == {1, 2})
    assert not any(line["changed"] for line in told(daemon, "lease keys loaded", since).values())


def test_a_worker_that_starts_with_a_broken_file(daemon: Daemon) -> None:
    """While a file is broken, workers keep the last good one, and a worker that is replaced waits for its mending."""
    put(daemon.home / "keys", key_document(OCT)[:-5])
    until(lambda: daemon.metrics().value(INVALID) == 2)
    os.kill(worker_pids(daemon)[1], signal.SIGKILL)
    line = daemon.line(lambda line: line["message"] == "worker cannot start", seconds=START_SECONDS)
    assert (line["worker"], line["level"]) == (1, "critical")
    assert str(daemon.home / "keys") in line["reason"]
    assert {daemon.traced("/v1/images")[1]["worker"] for _ in range(8)} == {2}
    put(daemon.home / "keys", key_document(OCT))
    wait_for_replacement(daemon, 1, 2)
    until(lambda: daemon.metrics().value(INVALID) == 0)
    assert b64(SECRET)[:12] not in daemon.said()
