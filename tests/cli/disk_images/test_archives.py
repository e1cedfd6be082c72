"""Archives and compressed files are no disk images, whatever they hold."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.cli.disk_images.sources import examined

from aero_storage.errors import OperatorError

DISK = bytes(range(256)) * 16


def tar(data: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        member = tarfile.TarInfo("disk.vmdk")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


def zipped(data: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("disk.img", data)
    return target.getvalue()


PACKED = {
    "gunzip": gzip.compress(DISK),
    "unxz": lzma.compress(DISK),
    "bunzip2": bz2.compress(DISK),
    "unzip": zipped(DISK),
    "tar": tar(DISK),
    "unzstd": b"\x28\xb5\x2f\xfd" + DISK,
}


@pytest.mark.parametrize("command", PACKED)
def test_packed_files_are_refused(tmp_path: Path, command: str) -> None:
    """The message names the command that unpacks the file; --format raw takes it all the same."""
    path = tmp_path / "disk img.x"
    path.write_bytes(PACKED[command])
    with pytest.raises(OperatorError, match=f"{command} .*'{path}'"), examined(path):
        pass
    with examined(path, "raw") as source:
        assert source.size == len(PACKED[command])


def test_raw_images_are_not(tmp_path: Path) -> None:
    """What has no such magic is a raw image."""
    (tmp_path / "disk.img").write_bytes(DISK)
    with examined(tmp_path / "disk.img") as source:
        assert source.is_raw
