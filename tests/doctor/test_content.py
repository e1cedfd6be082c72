"""The doctor tells of an image that is no raw disk, as its first and last bytes show."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.disk_bytes import noise_disk
from tests.doctor.faulty_proxy import FaultyProxy

from aero_storage.doctor.result import Result, Severity
from aero_storage.doctor.runner import DoctorReport

Look = Callable[..., DoctorReport]
NOISE = noise_disk(7, 100_000)[512:]


@pytest.mark.parametrize(
    ("data", "seen", "remedy"),
    [
        (b"QFI\xfb\0\0\0\3" + NOISE, "the image is qcow2, a container", "aero-storage import FILE --id odd"),
        (
            NOISE[: 100 * 512] + b"conectix" + bytes(504),
            "the image is vhd, a container",
            "aero-storage import FILE --id odd",
        ),
        (gzip.compress(NOISE), "the image is compressed with gzip", "aero-storage import FILE --id odd"),
        (b"<html>Not found", "the image is a web page (HTML)", "download the image itself"),
        (noise_disk(7, 100_000), "a raw disk: boot signature", ""),
        (bytes(5000), "a raw disk: all zeros", ""),
        (b"x", "no sign of a container", ""),
        (NOISE, "no sign of a container", ""),
    ],
    ids=["qcow2", "vhd", "gzip", "page", "disk", "zeros", "byte", "noise"],
)
def test_content(
    data: bytes, seen: str, remedy: str, open_proxy: Callable[..., FaultyProxy], tmp_path: Path, examine_proxy: Look
) -> None:
    """A container or another file is a warning that says what to do; it fails nothing."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "odd").write_bytes(data)
    report = examine_proxy(open_proxy(), image="odd")
    (found,) = [one.result for one in report.results if one.check == "content"]
    assert isinstance(found, Result)
    assert found.seen.startswith(seen)
    assert found.severity is (Severity.WARNING if remedy else Severity.PASS)
    assert remedy in found.remedy
    assert report.is_good
