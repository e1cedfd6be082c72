"""Which figures count as reached."""

from __future__ import annotations

import pytest
from bench.memory import IDLE_CLIENTS
from bench.results import BOTH_CORES, IDLE, SECURE, WHOLE_IMAGE, Latency, Memory, Results
from bench.servers import AERO, AIOHTTP, NGINX, SECURE_AERO, SECURE_NGINX
from bench.targets import LOAD_IS_LIMIT, MISSED, REACHED, TARGETS, UNKNOWN, Target, growths
from tests.bench.test_results import sample

MIB = 1 << 20


def target(work: str, wanted: str = "") -> Target:
    (found,) = [one for one in TARGETS if one.work.startswith(work) and wanted in one.wanted]
    return found


def test_nothing_measured() -> None:
    """What was not measured is neither reached nor missed."""
    assert {one.verdict(Results({})) for one in TARGETS} == {("–", UNKNOWN)}


@pytest.mark.parametrize(("rate", "word"), [(45.0, REACHED), (44.9, MISSED)])
def test_speed(rate: float, word: str) -> None:
    """The limit itself is reached."""
    results = Results({}, [sample(AERO, rate), sample(NGINX, 100)])
    assert target("4 KiB ranges", "× nginx").verdict(results)[1] == word


@pytest.mark.parametrize(("rate", "word"), [(40.0, REACHED), (39.9, MISSED)])
def test_speed_over_tls(rate: float, word: str) -> None:
    """Over TLS both servers speak it: what either does without it does not count."""
    plain = [sample(AERO, 1000, load="64 KiB"), sample(NGINX, 10, load="64 KiB")]
    secure = [
        sample(SECURE_AERO, rate, load="64 KiB", suite=SECURE),
        sample(SECURE_NGINX, 100, load="64 KiB", suite=SECURE),
    ]
    assert target("64 KiB ranges, TLS").verdict(Results({}, [*plain, *secure]))[1] == word


def test_speed_against_aiohttp() -> None:
    """The other server is the one that the target names."""
    results = Results({}, [sample(AERO, 60), sample(AIOHTTP, 10), sample(NGINX, 1000)])
    assert target("4 KiB ranges", "× aiohttp").verdict(results) == ("6.00 ×", REACHED)


def test_speed_where_the_load_is_the_limit() -> None:
    """A figure that wrk held down is not held against the server."""
    results = Results({}, [sample(AERO, 9, load_cpu=2.0), sample(NGINX, 100)])
    assert target("4 KiB ranges", "× nginx").verdict(results) == ("0.09 ×", LOAD_IS_LIMIT)


@pytest.mark.parametrize(
    ("rate", "load_cpu", "said"),
    [(143, 1.0, ("0.95", REACHED)), (142, 1.0, ("0.95", MISSED)), (142, 2.0, ("1.18", REACHED))],
)
def test_workers(rate: float, load_cpu: float, said: tuple[str, str]) -> None:
    """A speed-up is as good as the load leaves room for."""
    one = sample(AERO, 100, suite=BOTH_CORES, seconds=3.0, server_cpu=3.0, load_cpu=load_cpu)
    results = Results({}, [one, sample(AERO, rate, suite=BOTH_CORES, workers=2)])
    assert target("4 KiB ranges, 2 workers").verdict(results) == said


def memory(clients: int, range_size: int, mib: float) -> Memory:
    return Memory(AERO, clients, range_size, int(mib * MIB), 0, 0)


@pytest.mark.parametrize(("busy", "word"), [(90.0, REACHED), (90.1, MISSED)])
def test_idle_connections(busy: float, word: str) -> None:
    """What idle connections add is judged alone, and no size of a stream."""
    results = Results({}, memory=[memory(0, IDLE, 50), memory(IDLE_CLIENTS, IDLE, busy)])
    assert target("10,000 idle").verdict(results)[1] == word
    assert growths(results, AERO) == {}


@pytest.mark.parametrize(("busy", "word"), [(114.0, REACHED), (114.1, MISSED)])
def test_memory(busy: float, word: str) -> None:
    """The memory that clients add may be as large as the limit."""
    results = Results({}, (), [memory(0, WHOLE_IMAGE, 50), memory(1000, WHOLE_IMAGE, busy)])
    assert target("1,000 slow clients").verdict(results)[1] == word


@pytest.mark.parametrize(("bigger", "word"), [(60.0, REACHED), (90.0, MISSED)])
def test_memory_by_range_size(bigger: float, word: str) -> None:
    """A stream of the whole image may cost about as much as one of a short range."""
    points = [
        memory(0, MIB, 20),
        memory(1000, MIB, 70),
        memory(0, WHOLE_IMAGE, 20),
        memory(1000, WHOLE_IMAGE, 20 + bigger),
    ]
    results = Results({}, (), points)
    assert growths(results, AERO)[MIB] == pytest.approx(50 * MIB / 1000)
    assert target("memory of a stream").verdict(results)[1] == word


@pytest.mark.parametrize(("p99", "word"), [(300.0, REACHED), (301.0, MISSED)])
def test_latency(p99: float, word: str) -> None:
    """The p99 beside cold streams is set against the one alone, medians of rounds both."""
    alone = [Latency(AERO, "alone", number, 9, 50.0, p99, 900.0) for number, p99 in enumerate((100.0, 20.0, 700.0))]
    results = Results({}, (), (), [*alone, Latency(AERO, "cold", 0, 9, 50.0, p99, 900.0, 1, 1.0, 1.0, 1)])
    assert target("hot p99 while 16 cold streams run as fast").verdict(results)[1] == word
    assert target("hot p99 while 16 cold streams run at 8").verdict(results)[1] == UNKNOWN
