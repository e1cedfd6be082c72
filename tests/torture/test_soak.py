"""The soak of an hour: a short one against the real daemon, and that it sees what is wrong."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from torture.image_content import Content
from torture.outcome import MIB, Footprint
from torture.soak.__main__ import main
from torture.soak.changing_images import NAMES, ChangingImages
from torture.soak.client import Pacer
from torture.soak.record import Allowed, Record, Sample
from torture.soak.report import report

if TYPE_CHECKING:
    from pathlib import Path

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
    wrong=0,
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


def _loaded(resident: int) -> tuple[Sample, ...]:
    return (*SAMPLES[:80], *(Sample(sample.second, Footprint(50, resident), 0.4) for sample in SAMPLES[80:]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ()),
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


def test_pace() -> None:
    """Clients wait longer the more is used, and come back when it is less."""
    pacer = Pacer(0.4)
    pacer.adapt(0.8)
    slow = pacer.factor
    assert slow > 1
    pacer.adapt(0.2)
    assert pacer.factor < slow


def test_shelf(tmp_path: Path) -> None:
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
