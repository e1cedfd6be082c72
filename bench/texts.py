"""What docs/measurements/benchmarks.md says around the figures."""

from __future__ import annotations

HEAD = """\
# Benchmarks

Written by `make bench`; do not edit. Absolute figures move from machine to machine, the ratios are what counts.
"""
TWO_WORKERS = """\
Server and load share two cores. The ceiling is the best speed-up that the load leaves room for: the time of two cores
over what server and load used of it with one worker.
"""
MEMORY = """\
MiB, the sum over the server's processes; PSS counts what they share once. Clients ask for the whole of a sparse image
of 30 GiB over segments of 1,400 bytes with a small receive buffer, and read a byte every half second. Kernel is what
the socket buffers of the machine take beside that.
"""
STREAMS = """\
KiB of resident memory for one of 1,000 such clients, by what each asked for.
"""
LATENCY = """\
Microseconds, medians over rounds: one client on one connection, one request after the other. Beside it 16 streams
read ranges of 8 MiB as fast as they can, on the client's core but with idle priority: warm ones from the page cache,
cold ones each a range that was pushed out of it just before. "Cold" is the share of their bytes that was not there
when it was asked for (mincore), "disk" what the kernel says the server's processes had read from the disk. Where
the disk is fast, such streams leave the server's core no idle moment: p99 beside warm ones tells what of it is sheer
load, and paced ones, 1 MiB at a time and 8 MiB/s each, tell what waiting for the disk does.
"""
MEANING = """\
## What is measured

- Every server runs alone: one process, pinned to one core, started anew for each measurement. The load, `wrk -t1`, is
  pinned to another. A round goes through all servers for one load before it goes on to the next load, so that a
  machine that slows down hits all alike; a ratio is the median of the ratios within the rounds. What nginx without a
  log makes of big bodies, where a log costs nothing, tells how far apart two equal servers are.
- Before each measurement some bodies are compared with the file (sha256). A run with a single socket error, a status
  of 400 or more, or a sum of bytes that does not fit ends the benchmark.
- Ranges begin at random multiples of the alignment; requests are prepared before the clock starts. 99 % of the
  image and its chunks are in the page cache at least; this is checked and mended before each load.
- aero-storage runs as installed: all headers, metrics, the JSON request log into a file. nginx has sendfile,
  tcp_nopush, one worker and a JSON access log, buffered; a second one has no log. Caddy's `file_server` has its JSON
  access log. aiohttp and Starlette log nothing,
  `twisted.web.static` (under twistd) logs each request, as they come.
- Bodies of 1 MiB and more are counted by bytes received, since many are under way when a run ends.
- † The load generator was busy for 95 % of the time or more: the figure is its limit, not the server's.
- Big bodies are bounded by how fast the kernel copies them to wrk, which reads 8 KiB at a time; ratios close to 1 say
  that both servers keep the kernel busy, not that they are equally cheap: see the CPU seconds.
- Not measured: TLS, a real network, more than two cores, disks with several files cold at once.
"""
REPEAT = """\
## How to repeat it

```sh
apt-get install caddy nginx-light wrk
make bench                        # some 20 minutes; leave the machine alone
make bench BENCH_ARGS=--quick     # under 3 minutes, one round
make bench BENCH_ARGS=--help      # other sizes, offsets, connections, parts, servers
```

All figures of this page are in [benchmarks.json](benchmarks.json).
"""

CHANGES = """\
One download of 64 MiB by a client that stands still while the file is changed, and two ranges of 4 KiB with a change
in between, a second apart. In place is what `cp` and `dd` do to a file that is there; by rename is what `mv` does.
"""
BUCKET = """\
The daemon over a bucket of the tests' own object store, which shares a core with the load. Ratios are medians of
pairs, taken in turn. The cold streams beside hot requests get 8 MiB a second each from the store.
"""
