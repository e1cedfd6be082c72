"""Several workers are one daemon: one port, one log, one set of counters, one answer to signals."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import parse_metrics, until
from tests.blackbox.image_roots import DISK, SIZE, WIDE_SIZE, entry, put_catalog, wide_bytes, write
from tests.blackbox.raw_http import head
from tests.blackbox.startup_cases import StartupCase, run
from tests.blackbox.worker_processes import (
    START_SECONDS,
    alive,
    children_of,
    two_workers,
    wait_for_replacement,
    worker_pids,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.blackbox.harness import Daemon, Exposition
    from tests.blackbox.raw_http import RawConnection

IMAGE = "/v1/images/:image_id"
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def pair(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon with two workers, which these tests leave as they find it."""
    with two_workers(home("pair")) as daemon:
        yield daemon


@pytest.fixture
def fresh(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon with two workers for one test."""
    with two_workers(home("fresh")) as daemon:
        yield daemon


def worker_of(daemon: Daemon) -> int:
    """Ask something on a new connection; which worker has answered."""
    number: int = daemon.traced("/healthz")[1]["worker"]
    return number


def exact(metrics: Exposition) -> tuple[float, float, float]:
    """What has been counted of whole images: requests, their durations, bytes."""
    labels = {"route": IMAGE, "method": "GET"}
    return (
        metrics.value("http_requests_total", **labels, status="200"),
        metrics.value("http_request_duration_seconds_count", **labels),
        metrics.value("image_bytes_served_total", image_id="disk"),
    )


def test_one_parent_and_its_children(pair: Daemon) -> None:
    """Each worker is a process of its own, all are children of the one that was started."""
    started = worker_pids(pair)
    assert sorted(started) == [1, 2]
    assert sorted(children_of(pair.process.pid)) == sorted(started.values())


def test_all_answer(pair: Daemon) -> None:
    """Every worker gets its share of connections, and each line says whose it is."""
    until(lambda: worker_of(pair) == 1)
    until(lambda: worker_of(pair) == 2)


def test_readiness(pair: Daemon) -> None:
    """Each worker speaks for itself, and each is ready."""
    for _ in range(8):
        assert pair.ask("/readyz").status == 200


def test_idle_connections_spread(pair: Daemon) -> None:
    """Of 200 connections that are opened first and used later, each worker has a good part, on a busy machine too."""
    with ExitStack() as stack:
        conns = [stack.enter_context(pair.dial()) for _ in range(200)]
        for number, conn in enumerate(conns):
            conn.send(head("GET", "/v1/images/disk", {"Range": "bytes=5-9", "X-Request-Id": f"spread-{number}"}))
        assert [conn.reply().body for conn in conns] == [DISK[5:10]] * 200
    lines = [pair.complete(f"spread-{number}") for number in range(200)]
    shares = Counter(line["worker"] for line in lines)
    assert all(40 <= shares[worker] <= 160 for worker in (1, 2)), shares


def loaded_by(daemon: Daemon, since: int = 0, *, images: int) -> set[int]:
    """Which workers have read a catalog of so many images."""
    lines = [line for line in daemon.lines(since) if line["message"] == "catalog loaded"]
    return {line["worker"] for line in lines if line["images"] == images}


def test_reload_in_all(fresh: Daemon) -> None:
    """SIGHUP to the one process makes every worker read its catalog again."""
    since = fresh.log_size()
    fresh.hang_up()
    until(lambda: loaded_by(fresh, since, images=len(fresh.ask("/v1/images").json())) == {1, 2})


def test_reload_counts_and_keeps(fresh: Daemon) -> None:
    """A SIGHUP counts once for each worker; an invalid catalog leaves the last good one in force in all of them."""
    reloads = "aero_storage_catalog_reload_total"
    before = fresh.metrics()
    fresh.hang_up()
    fresh.rises(before, 2, reloads, result="success")
    put_catalog(fresh.root, "broken")
    until(lambda: fresh.metrics().value(reloads, result="failure") == 2)
    fresh.hang_up()
    until(lambda: fresh.metrics().value(reloads, result="failure") == 4)
    assert fresh.metrics().value(reloads, result="success") == before.value(reloads, result="success") + 2
    for _ in range(8):
        assert fresh.ask("/readyz").status == 200
        assert fresh.ask("/v1/images/disk").body == DISK


def test_reload_cuts_no_stream_of_any(fresh: Daemon) -> None:
    """Streams of all workers run to their ends over a reload that takes their image away."""
    write(fresh.root / "wide.img", wide_bytes())
    put_catalog(fresh.root, [entry("disk"), entry("wide", "wide.img")])
    until(lambda: loaded_by(fresh, images=2) == {1, 2})
    with ExitStack() as stack:
        conns = [stack.enter_context(fresh.dial(receive_buffer=65536)) for _ in range(4)]
        for conn in conns:
            conn.send(head("GET", "/v1/images/wide"))
            assert conn.reply_head().length == WIDE_SIZE
        put_catalog(fresh.root, [entry("disk")])
        since = fresh.log_size()
        fresh.hang_up()
        until(lambda: loaded_by(fresh, since, images=1) == {1, 2})
        assert [conn.take(WIDE_SIZE, 30) == wide_bytes() for conn in conns] == [True] * 4


def test_a_new_catalog_shows_in_all(fresh: Daemon) -> None:
    """A catalog that changes is seen by every worker without a word."""
    put_catalog(fresh.root, [entry("other")])
    for _ in range(20):
        until(lambda: fresh.ask("/v1/images/other").body == DISK)


def test_sums(fresh: Daemon) -> None:
    """Whichever worker is asked for the metrics, it shows the exact sum of all."""
    for _ in range(40):
        fresh.traced("/v1/images/disk")
    wanted = (40, 40, 40 * SIZE)
    assert {exact(fresh.metrics()) for _ in range(12)} == {wanted}


def test_the_present_sums_up(fresh: Daemon) -> None:
    """What is now is the sum over all workers; what a dead one had vanishes, and its successor's is there again."""
    with ExitStack() as stack:
        conns = [stack.enter_context(fresh.dial()) for _ in range(40)]
        for number, conn in enumerate(conns):
            assert conn.ask("GET", "/v1/images/disk", {"X-Request-Id": f"open-{number}"}).status == 200
        shares = Counter(fresh.complete(f"open-{number}")["worker"] for number in range(40))
        for _ in range(8):
            # Those and the one that asks; the other worker may not have seen yet that the one before is closed.
            until(lambda: fresh.metrics().value("aero_storage_connections") == 40 + 1)
            metrics = fresh.metrics()
            assert metrics.value("aero_storage_requests_in_flight") == 1
            assert metrics.value("aero_storage_places_limit") == 2 * 64
        os.kill(worker_pids(fresh)[1], signal.SIGKILL)
        wait_for_replacement(fresh, 1, 2)
        until(lambda: fresh.metrics().value("aero_storage_connections") == shares[2] + 1)
        until(lambda: fresh.metrics().value("aero_storage_places_limit") == 2 * 64)
        assert fresh.metrics().value("aero_storage_bytes_sent_total", mode="full") == 40 * SIZE


def test_processes_sum_up(pair: Daemon) -> None:
    """Memory and files are those of parent and workers together; the start is that of the parent, the first."""
    metrics = pair.metrics()
    processes = [pair.process.pid, *worker_pids(pair).values()]
    opened = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in processes)
    assert abs(metrics.value("process_open_fds") - opened) <= 5
    resident = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in processes) * PAGE
    assert 0.8 < metrics.value("process_resident_memory_bytes") / resident < 1.2
    began = datetime.fromisoformat(pair.line(lambda line: line["message"] == "worker started")["timestamp"])
    assert metrics.value("process_start_time_seconds") < began.timestamp()


def test_the_dead_are_counted_on(fresh: Daemon) -> None:
    """What a killed worker had counted stays in the sum, to the last that anybody has seen, for good."""
    for _ in range(20):
        fresh.traced("/v1/images/disk")
    assert exact(fresh.metrics()) == (20, 20, 20 * SIZE)
    spent = fresh.metrics().value("process_cpu_seconds_total")
    for number in (1, 2):
        os.kill(worker_pids(fresh)[number], signal.SIGKILL)
        assert exact(fresh.metrics()) == (20, 20, 20 * SIZE)
        wait_for_replacement(fresh, number, 2)
    for _ in range(20):
        fresh.traced("/v1/images/disk")
    assert {exact(fresh.metrics()) for _ in range(8)} == {(40, 40, 40 * SIZE)}
    assert fresh.metrics().value("process_cpu_seconds_total") >= spent


def test_counts_are_told_unasked(fresh: Daemon) -> None:
    """Workers that are killed lose a second's counts at the most, though nobody has asked for the metrics."""
    done = time.monotonic()
    fresh.traced("/v1/images/disk")
    until(lambda: fresh.ask("/healthz").status == 200 and time.monotonic() > done + 2)
    for number in (1, 2):
        os.kill(worker_pids(fresh)[number], signal.SIGKILL)
    for number in (1, 2):
        wait_for_replacement(fresh, number, 2)
    assert exact(fresh.metrics()) == (1, 1, SIZE)


def test_a_stuck_worker(fresh: Daemon) -> None:
    """A worker that hangs neither holds up the metrics of the others for long nor takes its counts out of them."""
    for _ in range(20):
        fresh.traced("/v1/images/disk")
    assert exact(fresh.metrics()) == (20, 20, 20 * SIZE)
    with ExitStack() as stack:
        conns: dict[int, RawConnection] = {}
        while len(conns) < 2:
            conn = stack.enter_context(fresh.dial())
            name = f"who-{len(conns)}-{id(conn)}"
            conn.ask("GET", "/healthz", {"X-Request-Id": name})
            conns[fresh.complete(name)["worker"]] = conn
        os.kill(worker_pids(fresh)[1], signal.SIGSTOP)
        metrics = parse_metrics(conns[2].ask("GET", "/metrics").body.decode())
    assert exact(metrics) == (20, 20, 20 * SIZE)


def test_killed_and_replaced(fresh: Daemon) -> None:
    """A killed worker is told and replaced; its port refuses nobody meanwhile, and who waits there is answered."""
    victim = worker_pids(fresh)[2]
    os.kill(victim, signal.SIGKILL)
    until(lambda: not alive(victim))
    with ExitStack() as stack:
        conns = [stack.enter_context(fresh.dial()) for _ in range(40)]
        for conn in conns:
            conn.send(head("GET", "/v1/images/disk", {"Range": "bytes=0-9"}))
        assert [conn.reply(patience=START_SECONDS).body for conn in conns] == [DISK[:10]] * 40
    wait_for_replacement(fresh, 2, 2)
    line = fresh.line(lambda line: line["message"] == "worker ended unasked")
    assert (line["child"], line["pid"], line["signal"]) == (2, victim, "SIGKILL")
    assert "worker" not in line
    assert worker_pids(fresh)[2] != victim
    until(lambda: worker_of(fresh) == 2)


def test_a_worker_that_is_asked_to_end(fresh: Daemon) -> None:
    """SIGTERM to one worker ends it well, without the loss of a count; it is replaced, and the daemon goes on."""
    for _ in range(20):
        fresh.traced("/v1/images/disk")
    for number in (1, 2):
        os.kill(worker_pids(fresh)[number], signal.SIGTERM)
        wait_for_replacement(fresh, number, 2)
    ended = [line for line in fresh.lines() if line["message"] == "worker ended unasked"]
    assert [line["status"] for line in ended] == [0, 0]
    assert exact(fresh.metrics()) == (20, 20, 20 * SIZE)


def test_every_request_has_its_line(fresh: Daemon) -> None:
    """Under load every request has one line, with its worker, and every line is JSON of its own."""
    odd = "%c3%a4%22%5c" * 15
    names = [[f"load-{number}-{turn}-" + "\\" * 90 for turn in range(100)] for number in range(20)]
    with ExitStack() as stack:
        conns = [stack.enter_context(fresh.dial()) for _ in names]
        for conn, own in zip(conns, names, strict=True):
            conn.send(b"".join(head("GET", f"/{odd}", {"X-Request-Id": name}) for name in own))
        for conn, own in zip(conns, names, strict=True):
            assert [conn.reply().status for _ in own] == [404] * len(own)
    last = [fresh.complete(own[-1].replace("\\", "\\\\")) for own in names]
    assert {line["worker"] for line in last} == {1, 2}
    lines = [json.loads(raw) for raw in fresh.log_text().split("\n")[:-1]]
    said = Counter(line["request_id"] for line in lines if line["message"] == "request complete")
    assert [said[name] for own in names for name in own] == [1] * 2000
    assert {line["worker"] for line in lines if line["message"] == "request complete"} == {1, 2}


def test_lines_of_the_parent(pair: Daemon) -> None:
    """What the parent says of itself names no worker as its speaker; what workers say names them."""
    speakers: dict[str, set[object]] = {}
    for line in pair.lines():
        speakers.setdefault(line["message"], set()).add(line.get("worker"))
    assert speakers["worker started"] == {None}
    assert speakers["listening"] == speakers["catalog loaded"] == {1, 2}


@pytest.mark.parametrize("how", ["flag", "variable", "file"])
def test_settings(home: Callable[[str], Path], how: str) -> None:
    """The number of workers comes from wherever settings come from, and 0 is one for every core."""
    path = home("settings")
    (path / "aero.toml").write_text("workers = 0\n")
    start = {
        "flag": StartupCase(("--workers", "0")),
        "variable": StartupCase(env={"AERO_STORAGE_WORKERS": "0"}),
        "file": StartupCase(("--config", "aero.toml")),
    }[how]
    done = run(path, start, "--check-config")
    assert "workers" in done.stdout.decode()
    assert done.returncode == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_port_of_others(pair: Daemon, home: Callable[[str], Path], workers: str) -> None:
    """A second daemon never shares a port with a daemon of several workers, however many it has itself."""
    done = run(home("second"), StartupCase(("--listen-addr", f"127.0.0.1:{pair.port}", "--workers", workers)))
    said = done.stderr.decode()
    assert done.returncode != 0
    assert len(said.strip().splitlines()) == 1
    assert "in use" in said
    assert str(pair.port) in said


def test_port_of_one_process(store: Daemon, home: Callable[[str], Path]) -> None:
    """A daemon of several workers never shares the port of a daemon of one process."""
    done = run(home("second"), StartupCase(("--listen-addr", f"127.0.0.1:{store.port}", "--workers", "2")))
    assert done.returncode != 0
    assert len(done.stderr.decode().strip().splitlines()) == 1
