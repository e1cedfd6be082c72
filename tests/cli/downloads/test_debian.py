"""A mirror of Debian: packages by their index, and files out of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.package_registries import SEABIOS_FILES, deb_of

from aero_storage.cli.downloads import deb
from aero_storage.cli.downloads.cache import Downloads, UnavailableError
from aero_storage.cli.downloads.deb import read_files
from aero_storage.cli.downloads.debian import Mirror, packages_in

if TYPE_CHECKING:
    from tests.cli.package_registries import Registries


@pytest.fixture
def mirror(served: Registries, tmp_path: Path) -> Mirror:
    return Mirror(served.url, Downloads(tmp_path / "kept", lambda _remark: None, lambda _seconds: None))


def test_package_by_its_name(mirror: Mirror) -> None:
    """A package of the index is fetched, and its files are read by their paths."""
    package = mirror.find(["seabios"])["seabios"]
    assert (package.version, package.path) == ("1", "pool/main/seabios_1.deb")
    files = read_files(mirror.fetch(package), lambda path: path.endswith(".bin"))
    wanted = {f"/{name}": data for name, data in SEABIOS_FILES.items() if name.endswith(".bin")}
    assert files == wanted


def test_index_is_fetched_once(served: Registries, mirror: Mirror) -> None:
    """Several questions of one mirror read its index once."""
    mirror.find(["seabios"])
    mirror.find(["isolinux", "busybox-static"])
    assert len([path for path in served.asked if "by-hash" in path]) == 1


def test_unknown_package(mirror: Mirror) -> None:
    """A name that is not in the index is told."""
    with pytest.raises(UnavailableError, match="has no package odd"):
        mirror.find(["odd", "seabios"])


def test_changed_index_is_refused(served: Registries, mirror: Mirror) -> None:
    """An index that is not what the release says is refused."""
    (path,) = (path for path in served.answers if "by-hash" in path)
    served.answers[path] += b"!"
    with pytest.raises(UnavailableError, match="is not what it should be"):
        mirror.find(["seabios"])


def test_changed_package_is_refused(served: Registries, mirror: Mirror) -> None:
    """A package that is not what the index says is refused."""
    served.answers["/pool/main/seabios_1.deb"] += b"!"
    with pytest.raises(UnavailableError, match="is not what it should be"):
        mirror.fetch(mirror.find(["seabios"])["seabios"])


def test_paths_out_of_the_pool_are_no_packages() -> None:
    """An index whose file names lead elsewhere has no such package."""
    sha256 = "0" * 64
    stanza = f"Package: odd\nFilename: pool/../../etc/odd.deb\nSHA256: {sha256}\n"
    assert list(packages_in(stanza.encode(), ["odd"])) == []


def test_package_as_dpkg_reads_it(tmp_path: Path) -> None:
    """The packages of these tests are those of dpkg, so that reading them means something."""
    dpkg = shutil.which("dpkg-deb")
    if dpkg is None:
        pytest.skip("dpkg is not installed")
    (tmp_path / "a.deb").write_bytes(deb_of(SEABIOS_FILES))
    import subprocess  # noqa: PLC0415

    subprocess.run([dpkg, "--extract", tmp_path / "a.deb", tmp_path / "out"], check=True, timeout=30)
    assert (tmp_path / "out" / "usr/share/seabios/bios.bin").read_bytes() == b"BIOS"


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"!<arch>\n" + b"x" * 60, b"PK\x03\x04" * 50])
def test_files_that_are_no_package(content: bytes, tmp_path: Path) -> None:
    """What is no package is an error in one line."""
    (tmp_path / "a.deb").write_bytes(content)
    with pytest.raises(UnavailableError):
        read_files(tmp_path / "a.deb", lambda _path: True)


@pytest.mark.parametrize("length", [b"-61", b"+4", b"1_0", b"9999999999"])
def test_lengths_that_lie(length: bytes, tmp_path: Path) -> None:
    """A member that is shorter than nothing, or longer than the package, is an error: no loop, no memory."""
    head = b"%-48b%-10b`\n"
    packed = b"!<arch>\n" + head % (b"control.tar.xz", length) + head % (b"data.tar.xz", b"0")
    (tmp_path / "a.deb").write_bytes(packed)
    with pytest.raises(UnavailableError):
        read_files(tmp_path / "a.deb", lambda _path: True)
    (tmp_path / "b.deb").write_bytes(b"!<arch>\n" + head % (b"data.tar.xz", length))
    with pytest.raises(UnavailableError):
        read_files(tmp_path / "b.deb", lambda _path: True)


def test_packages_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small package of a huge content is refused before all of it is unpacked, and so are too many files."""
    monkeypatch.setattr(deb, "_MOST_UNPACKED_BYTES", 3000)
    (tmp_path / "a.deb").write_bytes(deb_of({"a": bytes(1000), "b": bytes(10_000)}))
    with pytest.raises(UnavailableError, match="too much"):
        read_files(tmp_path / "a.deb", lambda path: path == "/a")
    monkeypatch.undo()
    monkeypatch.setattr(deb, "_MOST_WANTED_BYTES", 1500)
    (tmp_path / "b.deb").write_bytes(deb_of({name: bytes(1000) for name in "abc"}))
    with pytest.raises(UnavailableError, match="too much"):
        read_files(tmp_path / "b.deb", lambda _path: True)


def test_stanzas_of_other_encodings() -> None:
    """A version that is no UTF-8 is no fault of the reader; a digest that is none makes no package."""
    sha256 = "0" * 64
    stanza = b"Package: odd\nVersion: 1\xff\nFilename: pool/odd.deb\nSHA256: %b\n"
    (package,) = packages_in(stanza % sha256.encode(), ["odd"])
    assert package.version == "1\ufffd"
    assert list(packages_in(stanza % b"../../../../../../../etc/".ljust(64, b"x"), ["odd"])) == []
