"""What is asked of the servers, and wrk, which asks it."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs

from bench import data
from bench.client import digest
from bench.data import Data
from bench.errors import BenchError
from bench.servers import Server

SCRIPT = Path(__file__).with_name("ranges.lua")
_CIPHER = Path(__file__).parent / "peers" / "browser_cipher.cnf"
CHUNKS, WHOLE = "chunks", "download"
SIZES = (4096, 65536, data.MIB, 8 * data.MIB)
_MARK = "BENCH "
_LONGEST_HEAD = 4096
_BY_BYTES = data.MIB
_TRIES = 4


@attrs.frozen
class Load:
    """Bodies of `size` bytes: ranges of the hot image, its chunks, or all of it."""

    name: str
    size: int
    status: int
    connections: int

    def rate(self, requests: int, sent: int, seconds: float) -> float:
        """Bodies a second. Of big ones few are finished in a run and many are under way: there the bytes count."""
        return (sent / self.size if self.size >= _BY_BYTES else requests) / seconds


@attrs.frozen
class Aim:
    """How requests are chosen."""

    align: int
    seed: int


@attrs.frozen
class Run:
    """What wrk did in `seconds`, and its own CPU seconds."""

    requests: int
    sent: int
    seconds: float
    cpu: float = 0.0


def ranges(size: int, connections: int) -> Load:
    """Random ranges of `size` bytes; the name is the size, as people write it."""
    text = f"{size // data.MIB} MiB" if size % data.MIB == 0 else f"{size / 1024:g} KiB"
    return Load(text, size, 206, connections)


def all_loads(sizes: Sequence[int], connections: int, hot_size: int) -> list[Load]:
    """The loads in the order of the report; a few connections do for whole downloads, and end them within a run."""
    chunks = Load(CHUNKS, data.CHUNK_SIZE, 200, connections)
    whole = Load(WHOLE, hot_size, 200, max(connections // 4, 1))
    return [*(ranges(size, connections) for size in sizes), chunks, whole]


def parse(output: str) -> Run:
    """Read what our script made wrk print; BenchError if anything went wrong in the run."""
    lines = [line for line in output.splitlines() if line.startswith(_MARK)]
    if len(lines) != 1:
        raise BenchError(f"wrk did not say what it did: {output!r}")
    said = json.loads(lines[0].removeprefix(_MARK))
    errors = {name: said[name] for name in ("connect", "read", "write", "status", "timeout") if said[name]}
    if errors:
        raise BenchError(f"wrk saw errors: {errors}")
    return Run(said["requests"], said["sent"], said["microseconds"] / 1e6)


def plausible(run: Run, load: Load) -> bool:
    """Whether each response had about its size: all that is neither body nor under way is a head of some KiB."""
    most = (run.requests + load.connections) * (load.size + _LONGEST_HEAD)
    return run.requests * load.size < run.sent <= most


def wrk(server: Server, load: Load, aim: Aim, site: Data, *, cores: str, seconds: int) -> Run:
    """Load a server for some seconds, pinned to `cores`; BenchError if it does not answer as it should."""
    command = ["taskset", "-c", cores, "wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "60s"]
    url = f"{server.kind.scheme}://127.0.0.1:{server.port}"
    script = ["-s", str(SCRIPT), url, "--", *_arguments(server, load, aim, site)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OPENSSL_CONF": str(_CIPHER)}
    done = subprocess.run([*command, *script], env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise BenchError(f"wrk failed: {done.stdout}{done.stderr}")
    run = parse(done.stdout)
    if not plausible(run, load):
        raise BenchError(f"{server.kind.name}, {load.name}: {run} are not the bytes that were asked for")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return attrs.evolve(run, cpu=cpu)


def check(server: Server, load: Load, aim: Aim, site: Data, rng: random.Random) -> None:
    """Raise BenchError unless a few bodies are right to the byte."""
    for _ in range(1 if load.name == WHOLE else _TRIES):
        path, extent, wanted = _pick(server, load, aim, site, rng)
        got = digest(server.port, path, extent, is_secure=server.kind.is_secure)
        if got != (load.status, load.size, wanted):
            raise BenchError(f"{server.kind.name}: {path} {extent} gave {got}, not {load.status} and {wanted}")


def _pick(
    server: Server, load: Load, aim: Aim, site: Data, rng: random.Random
) -> tuple[str, tuple[int, int] | None, str]:
    """A path, the first byte and length of a range, and the sha256 of what should come."""
    if load.name == WHOLE:
        return server.kind.image(data.HOT), None, site.hot_digest
    if load.name == CHUNKS:
        number = rng.randrange(data.CHUNKS)
        path = f"{server.kind.chunks(data.HOT)}{number:08}.bin"
        return path, None, data.part_digest(site.chunk(number), 0, load.size)
    offset = rng.randint(0, (site.hot_size - load.size) // aim.align) * aim.align
    wanted = data.part_digest(site.root / data.HOT, offset, load.size)
    return server.kind.image(data.HOT), (offset, load.size), wanted


def _arguments(server: Server, load: Load, aim: Aim, site: Data) -> list[str]:
    image, seed = server.kind.image(data.HOT), str(aim.seed)
    if load.name == WHOLE:
        return ["whole", image, seed]
    if load.name == CHUNKS:
        return ["files", server.kind.chunks(data.HOT), seed, str(data.CHUNKS)]
    return ["range", image, seed, str(site.hot_size), str(load.size), str(aim.align)]
