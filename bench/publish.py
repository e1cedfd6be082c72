"""How long it takes to publish an image, beside what the machine takes to copy it and to hash it.

    PYTHONPATH=src python -m bench.publish --directory /var/tmp

All is measured in one run, round by round and each round in another order; medians count. The image is in the page
cache. Publishing is a process of its own, timed from its start to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from aero_storage.linux.sparse_files import data_extents
from aero_storage.sizes import format_size, parse_size

MIB = 1024 * 1024
STRETCHES = 64  # of data in the sparse image

PUBLISH = """
import json, resource, sys
from pathlib import Path
from aero_storage.chunks.publish.publisher import publish

source = Path(sys.argv[1])
publish(root=source.parent, source=source, image_id="disk", directory=Path(sys.argv[2]),
        chunk_size=int(sys.argv[3]), version=None, jobs=int(sys.argv[4]), advance=lambda count: None, say=print)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
"""

COPY, HASH = "cp --reflink=never + sync", "openssl dgst -sha256"


@attrs.frozen
class Bench:
    """One thing to measure: `run` returns the peak of its memory in bytes, if that is of interest."""

    name: str
    run: Callable[[], int | None]
    tools: tuple[str, ...] = ()


@attrs.define
class Figures:
    """What was measured of one thing."""

    seconds: list[float] = attrs.field(factory=list)
    peak: int | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@attrs.frozen
class Workplace:
    """A directory for the images and what is made of them."""

    path: Path
    chunk_size: int
    jobs: int

    def image(self, name: str, size: int, data: int) -> Path:
        """Make an image of `size` bytes with `data` random ones, in stretches that are spread over it."""
        path = self.path / name
        with path.open("wb") as file:
            for number in range(STRETCHES):
                file.seek(number * (size // STRETCHES) // MIB * MIB)
                left = data // STRETCHES
                while left > 0:
                    left -= file.write(os.urandom(min(MIB, left)))
            file.truncate(size)
        return path

    def copy(self, image: Path) -> None:
        target = str(self.path / "copy")
        subprocess.run(["cp", "--reflink=never", str(image), target], check=True)
        subprocess.run(["sync", target], check=True)

    def hash(self, image: Path) -> None:
        subprocess.run(["openssl", "dgst", "-sha256", str(image)], check=True, stdout=subprocess.DEVNULL)

    def publish(self, image: Path) -> int:
        target = self.path / "chunked"
        command = [sys.executable, "-c", PUBLISH, str(image), str(target), str(self.chunk_size), str(self.jobs)]
        return int(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))

    def clear(self) -> None:
        """Remove what was made of the images, and let the disk come to rest."""
        (self.path / "copy").unlink(missing_ok=True)
        shutil.rmtree(self.path / "chunked", ignore_errors=True)
        os.sync()


def warm(*images: Path) -> None:
    """Bring the data of images into the page cache."""
    buffer = bytearray(MIB)
    for image in images:
        with image.open("rb", buffering=0) as file:
            for first, after in data_extents(file.fileno(), 0, image.stat().st_size):
                for offset in range(first, after, MIB):
                    os.preadv(file.fileno(), [buffer], offset)


def measure(place: Workplace, benches: list[Bench], rounds: int, prepare: Callable[[], None]) -> dict[str, Figures]:
    figures = {bench.name: Figures() for bench in benches}
    for number in range(rounds):
        turn = number % len(benches)
        for bench in (*benches[turn:], *benches[:turn]):
            place.clear()
            prepare()
            started = time.perf_counter()
            peak = bench.run()
            figures[bench.name].seconds.append(time.perf_counter() - started)
            figures[bench.name].peak = max(peak, figures[bench.name].peak or 0) if peak else None
    return figures


def usable(benches: list[Bench]) -> list[Bench]:
    """Those whose tools are there; the others are told."""
    for bench in benches:
        for tool in bench.tools:
            if shutil.which(tool) is None:
                sys.stderr.write(f"{bench.name} is left out: there is no {tool}\n")
    return [bench for bench in benches if all(map(shutil.which, bench.tools))]


def table(title: str, figures: dict[str, Figures], base: str) -> Iterator[str]:
    yield f"| {title} | median | best | worst | of {base} | peak memory |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, found in figures.items():
        times = (found.median, min(found.seconds), max(found.seconds))
        ratio = f"{found.median / figures[base].median:.2f}" if base in figures else "-"
        peak = "-" if found.peak is None else format_size(found.peak)
        yield f"| {name} | {' | '.join(f'{seconds:.2f} s' for seconds in times)} | {ratio} | {peak} |"
    yield ""


def dense(place: Workplace, options: argparse.Namespace) -> Iterator[str]:
    image = place.image("dense.img", options.size, options.size)
    benches = [
        Bench(COPY, lambda: place.copy(image), ("cp", "sync")),
        Bench(HASH, lambda: place.hash(image), ("openssl",)),
        Bench("publish", lambda: place.publish(image)),
    ]
    figures = measure(place, usable(benches), options.rounds, lambda: warm(image))
    yield from table(f"{format_size(options.size)} of data", figures, COPY)
    image.unlink()


def sparse(place: Workplace, options: argparse.Namespace) -> Iterator[str]:
    data = options.sparse_data
    full = place.image("full.img", data, data)
    sparse_one = place.image("sparse.img", options.sparse_size, data)
    names = format_size(data), f"{format_size(options.sparse_size)} with {format_size(data)} of data"
    benches = [Bench(names[0], lambda: place.publish(full)), Bench(names[1], lambda: place.publish(sparse_one))]
    figures = measure(place, benches, options.rounds, lambda: warm(full, sparse_one))
    yield from table("publish", figures, names[0])


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default="2GiB", help="size of the full image (2GiB)")
    parser.add_argument(
        "--sparse-size", type=parse_size, default="100GiB", help="of the sparse one (100GiB); 0: none"
    )
    parser.add_argument("--sparse-data", type=parse_size, default="1GiB", help="how much data that has (1GiB)")
    parser.add_argument("--chunk-size", type=parse_size, default="4MiB", help="(4MiB)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="cores to keep busy (all)")
    parser.add_argument("--rounds", type=int, default=5, help="(5)")
    parser.add_argument("--directory", type=Path, help="where the work is done, on the disk to measure")
    parser.add_argument("--output", type=Path, help="write the tables to this file too")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    lines = list[str]()
    with tempfile.TemporaryDirectory(dir=options.directory) as scratch:
        place = Workplace(Path(scratch), options.chunk_size, options.jobs)
        for line in (*dense(place, options), *(sparse(place, options) if options.sparse_size else ())):
            lines.append(line)
            sys.stdout.write(f"{line}\n")
    if options.output is not None:
        options.output.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
