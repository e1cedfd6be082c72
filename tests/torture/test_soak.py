"""The soak of an hour: a short one against the real daemon, and that it sees what is wrong."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from torture.image_content import PERIOD, Content, differing
from torture.outcome import MIB, Footprint
from torture.soak.__main__ import main
from torture.soak.changing_images import NAMES, ChangingImages
from torture.soak.client import Pacer
from torture.soak.mixed_client import Tally
from torture.soak.record import Allowed, Record, Sample
from torture.soak.report import report
from torture.soak.requests import ServedImage, anything, large

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = ServedImage(3 * MIB + 5, '"tag"', "v1", 256 * 1024, 8)
SAMPLES = tuple(Sample(float(second), Footprint(50, 80 * MIB), 0.4) for second in range(1, 101))
RECORD = Record(
    seconds=100,
    first=40,
    window=10,
    seed="s",
    workers=1,
    start=Footprint(15, 60 * MIB),
    rests=(Footprint(14, 78 * MIB), Footprint(14, 79 * MIB)),
    samples=SAMPLES,
    requests=1000,
    compared=10 * MIB,
    wanted=None,
    wrong=0,
    resets=3,
    acts={"download": 5},
    faults=(),
)


def test_short_soak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All kinds of clients at once, for a few seconds, get what they should."""
    files = ("--record", str(tmp_path / "record.json"), "--report", str(tmp_path / "soak.md"))
    short = ("--seconds=3", "--first=1.5", "--rest=0.1", "--load=1", "--quiet")
    loose = ("--growth=64", "--descriptors=64")  # what is warming up yet is not judged here
    status = main([*files, *short, *loose])
    assert (status, capsys.readouterr().err) == (0, "")
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["wrong"] == 0
    assert record["requests"] > 50
    assert record["compared"] > MIB
    assert sum(count > 0 for count in record["acts"].values()) > 10
    assert "0 bytes wrong" in (tmp_path / "soak.md").read_text()


def test_mixed_clients_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A soak by number sends just so many requests, here without remembered plans to an image of its own size."""
    what = ("--only=mixed", "--clients=4", "--load=0", "--requests=400", "--no-express")
    size = ("--image-size", str(5 * MIB + 512))
    loose = ("--growth=64", "--descriptors=64", "--rest=0.1", "--quiet")
    status = main([*what, *size, *loose, "--record", str(tmp_path / "record.json")])
    assert (status, capsys.readouterr().err) == (0, "")
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["requests"], record["wrong"], record["faults"]) == (400, 0, [])
    assert record["compared"] > MIB
    assert list(record["acts"]) == ["mixed"]


def _loaded(resident: int) -> tuple[Sample, ...]:
    return (*SAMPLES[:80], *(Sample(sample.second, Footprint(50, resident), 0.4) for sample in SAMPLES[80:]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ()),
        ({"wanted": 1000}, ()),
        ({"wanted": 1001}, ("only 1000 of 1001 responses came within 100 s",)),
        ({"wrong": 3}, ("3 of 10485760 bytes are wrong",)),
        (
            {"acts": {"download": 5, "read_changing_image": 0}},
            ("no client ever came to the end of: read_changing_image",),
        ),
        ({"faults": ("the daemon ended with status 1",)}, ("the daemon ended",)),
        ({"rests": (Footprint(14, 78 * MIB), Footprint(14, 83 * MIB))}, ()),
        ({"rests": (Footprint(14, 78 * MIB), Footprint(14, 83 * MIB + 1))}, ("without clients 83.0 MiB",)),
        ({"rests": (Footprint(14, 78 * MIB), Footprint(14, 73 * MIB - 1))}, ("without clients 73.0 MiB",)),
        ({"rests": (Footprint(14, 78 * MIB), Footprint(15, 78 * MIB))}, ("without clients 15 descriptors",)),
        ({"rests": (Footprint(14, 78 * MIB), Footprint(13, 78 * MIB))}, ("without clients 13 descriptors",)),
        ({"samples": _loaded(85 * MIB)}, ()),
        ({"samples": _loaded(86 * MIB)}, ("under load 86.0 MiB",)),
        ({"wrong": 1, "samples": _loaded(60 * MIB)}, ("1 of", "under load 60.0 MiB")),
    ],
)
def test_verdict(changes: dict[str, Any], said: tuple[str, ...]) -> None:
    """Each thing that is wrong is told, and nothing else."""
    complaints = attrs.evolve(RECORD, **changes).complaints(Allowed())
    assert len(complaints) == len(said)
    assert all(text.startswith(start) for text, start in zip(complaints, said, strict=True))


def test_report() -> None:
    """The report has the figures, and what is wrong."""
    text = report(RECORD, ["something is wrong"], ["--seed", "s"])
    assert "| all clients gone after 40 s | 78.0 | 14 |" in text
    assert "| all clients gone after 100 s | 79.0 | 14 |" in text
    assert "- `something is wrong`" in text


def test_no_limit_on_the_load() -> None:
    """Without a limit clients never wait, whatever is used."""
    pacer = Pacer(0)
    pacer.adapt(2.0)
    assert pacer.factor == 0


def test_pacer() -> None:
    """Clients wait longer the more is used, and come back when it is less."""
    pacer = Pacer(0.4)
    pacer.adapt(0.8)
    slow = pacer.factor
    assert slow > 1
    pacer.adapt(0.2)
    assert pacer.factor < slow


def test_changing_images(tmp_path: Path) -> None:
    """What lies there is what the book says, and the book remembers what may still be seen."""
    changing, rng = ChangingImages(tmp_path, Content(8 * MIB)), random.Random(1)
    for _ in range(40):
        before = {name: changing.now(name) for name in NAMES}
        changing.change(rng)
        for name in NAMES:
            version, path = changing.now(name), tmp_path / name
            assert before[name] in changing.since(name, 0)
            assert version in changing.since(name, float("inf"))
            if version is None:
                assert not path.exists()
            else:
                assert path.read_bytes() == version.part(changing.content, 0, version.size)
    assert changing.removed_since(0)
    assert not changing.removed_since(float("inf"))


def test_content(tmp_path: Path) -> None:
    """The file is what its parts say, across the end of a period too."""
    content = Content(2 * PERIOD + 100)
    content.write(tmp_path / "image")
    data = (tmp_path / "image").read_bytes()
    assert len(data) == content.size
    for offset in (0, PERIOD - 10, 2 * PERIOD + 50):
        assert data[offset : offset + 50] == content.part(offset, 50)
    assert content.part(0, 4096) != content.part(MIB, 4096)


@pytest.mark.parametrize(
    ("got", "wanted", "wrong"), [(b"abc", b"abc", 0), (b"abd", b"abc", 1), (b"ab", b"abc", 1), (b"xbc1", b"abc", 2)]
)
def test_differing(got: bytes, wanted: bytes, wrong: int) -> None:
    """Bytes that differ, are missing or are too many count."""
    assert differing(got, wanted) == wrong


def test_requests_stay_within_the_image() -> None:
    """No request expects bytes beyond the end; each kind turns up."""
    rng = random.Random(3)
    requests = [anything(IMAGE, rng) for _ in range(2000)] + [large(IMAGE, rng) for _ in range(200)]
    assert all(0 <= request.offset <= request.offset + request.length <= IMAGE.size for request in requests)
    assert {request.status for request in requests} == {200, 206, 304}
    texts = b"".join(request.text for request in requests)
    assert all(word in texts for word in (b"HEAD ", b"/chunks/", b"TE: ", b"If-Range: ", b"If-None-Match: "))


def test_wrong_bytes_are_seen() -> None:
    """A byte that is wrong is counted and reported."""
    tally = Tally(1)
    assert (tally.take(5), tally.take(1)) == (1, 0)
    tally.ended(large(IMAGE, random.Random(1)), b"abd", b"abc")
    assert (tally.done, tally.compared, tally.wrong, len(tally.faults)) == (1, 3, 1, 1)
