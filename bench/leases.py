"""What a lease costs: random 4 KiB of a private image by each carrier, beside the same of a public one.

`python -m bench.leases [ROUNDS]` prints the throughput of each as a ratio, the median of the rounds.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import attrs

from bench import data, machine
from bench.client import HOST
from bench.errors import BenchError
from bench.loads import SCRIPT, parse
from bench.servers import TWISTD, Kind, Place, Server, free_port, running

SIZE, LENGTH = 64 * data.MIB, 4096
LEAST = 0.9
"""A request with a lease that was seen before costs at most a tenth more."""

_CONNECTIONS, _SECONDS, _ROUNDS = 16, 2, 5
_PRIVATE = "private.img"
_COMMAND = TWISTD.with_name("aero-storage")


@attrs.frozen
class Carrier:
    """A way to show a lease, or none: the path, and a header field."""

    name: str
    path: str
    field: str = ""


def carriers(token: str) -> tuple[Carrier, ...]:
    """Return the ways to ask, the public image first."""
    path = f"/v1/images/{_PRIVATE}"
    return (
        Carrier("none, a public image", f"/v1/images/{data.HOT}"),
        Carrier("Authorization", path, f"Authorization: Bearer {token}"),
        Carrier("a cookie", path, f"Cookie: aero-lease={token}"),
        Carrier("the query", f"{path}?lease={token}"),
    )


@contextmanager
def leased_server(scratch: Path, cores: str) -> Iterator[tuple[Server, str]]:
    """Run a daemon that asks for leases; also a token that opens the private image."""
    root, keys, public = scratch / "images", scratch / "issuer.json", scratch / "keys.json"
    root.mkdir()
    for name in (data.HOT, _PRIVATE):
        (root / name).write_bytes(random.Random(name).randbytes(SIZE))
    entries = [{"id": name, "file": name, "name": name, "public": name == data.HOT} for name in (data.HOT, _PRIVATE)]
    (root / "manifest.json").write_text(json.dumps({"images": entries}), encoding="utf-8")
    public.write_text(_run("keys", "new", "--keys", str(keys)), encoding="utf-8")
    token = _run("issue", _PRIVATE, "--keys", str(keys), "--for", "1h").strip()

    def command(place: Place) -> list[str]:
        start = [str(TWISTD), "--nodaemon", "--pidfile=", f"--logfile={place.log}", "aero-storage"]
        flags = [f"--images-root={root}", f"--lease-keys-file={public}"]
        return [*start, f"--listen-addr={HOST}:{place.port}", *flags]

    kind = Kind("leases", "a daemon that asks for leases", "/v1/images/{}", "", command)
    with running(kind, Place(root, scratch / "home", free_port()), cores) as server:
        yield server, token


def _run(*words: str) -> str:
    return subprocess.run([str(_COMMAND), "lease", *words], capture_output=True, text=True, check=True).stdout


def rate(server: Server, carrier: Carrier, seed: int, cores: str) -> float:
    """Return the requests a second. Raises BenchError if any is not answered as it should be."""
    command = ["taskset", "-c", cores, "wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{_SECONDS}s", "-s", str(SCRIPT)]
    field = ["-H", carrier.field] if carrier.field else []
    asked = ["--", "range", carrier.path, str(seed), str(SIZE), str(LENGTH), str(LENGTH)]
    done = subprocess.run(
        [*command, *field, f"http://{HOST}:{server.port}", *asked], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"wrk failed: {done.stdout}{done.stderr}")
    run = parse(done.stdout)
    if run.sent < run.requests * LENGTH:
        raise BenchError(f"{carrier.name}: {run} are not the bytes that were asked for")
    return run.requests / run.seconds


def say(line: str) -> None:
    """Print a line of the result."""
    sys.stdout.write(f"{line}\n")


def main(rounds: int) -> int:
    """Measure and print; return 1 if a carrier costs too much."""
    cores = machine.our_cores()
    with tempfile.TemporaryDirectory() as scratch, leased_server(Path(scratch), cores.server) as (server, token):
        ways = carriers(token)
        rates = [[rate(server, way, seed, cores.load) for way in ways] for seed in range(rounds)]
    say(f"{ways[0].name}: {median(row[0] for row in rates):,.0f} requests of {LENGTH} bytes a second")
    ratios = {way.name: median(row[at] / row[0] for row in rates) for at, way in enumerate(ways) if at}
    for name, ratio in ratios.items():
        say(f"{name}: {ratio:.3f} ×")
    return int(min(ratios.values()) < LEAST)


if __name__ == "__main__":
    if machine.missing_packages():
        sys.exit(f"missing: {', '.join(machine.missing_packages())} (Debian has them)")
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else _ROUNDS))
