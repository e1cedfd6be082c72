"""`aero-storage profile` on a directory: what is learned, stored, shown, moved and removed."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tests.command_output import CommandResult
from tests.profiles.log import ask, line, read

from aero_storage.atomic_files import Directory, staging_directory
from aero_storage.catalog.model import Catalog
from aero_storage.cli.log_sources import split_lines
from aero_storage.cli.removals import Plan
from aero_storage.cli.sources.stream import Peekable
from aero_storage.cli.workplace import WORK

Command = Callable[..., CommandResult]
UNIT = 65536
SIZE = 64 * UNIT


@pytest.fixture
def root(alone: None, tmp_path: Path) -> Path:
    """An images root with a catalog of one image."""
    del alone
    images = tmp_path / "images"
    images.mkdir()
    (images / "win98.img").write_bytes(bytes(SIZE))
    entries = [{"id": "win98", "file": "win98.img", "name": "98"}, {"id": "other", "file": "other.img", "name": "o"}]
    (images / "other.img").write_bytes(b"x" * SIZE)
    (images / "manifest.json").write_text(json.dumps({"images": entries}))
    return images


@pytest.fixture
def version(command: Command, root: Path) -> str:
    """The version that the image has now."""
    found = command("profile", "show", "win98", "--images-root", root)
    return found.err.split("in its version ")[1].split()[0]


def log(path: Path, lines: Iterable[bytes]) -> Path:
    """Write a log."""
    path.write_bytes(b"".join(one + b"\n" for one in lines))
    return path


def boot(version: str, client: str = "192.0.2.1") -> list[bytes]:
    """Return the lines of one session."""
    return [
        read(0, 0, version=version, client=client),
        read(1, 8 * UNIT, 2 * UNIT, version=version, client=client),
        read(2, 40 * UNIT, version=version, client=client),
    ]


def test_learning_from_logs_of_several_replicas(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """Plain, rotated and compressed logs together make one profile; lines that are no log lines are told of."""
    plain = log(tmp_path / "current", [b"no line", *boot(version)])
    packed: list[tuple[str, Callable[[bytes], bytes]]] = [
        (".gz", gzip.compress),
        (".xz", lzma.compress),
        (".bz2", bz2.compress),
    ]
    names = [plain]
    for number, (suffix, compress) in enumerate(packed):
        names.append(tmp_path / f"old{suffix}")
        names[-1].write_bytes(compress(b"\n".join(boot(version, client=f"192.0.2.{number + 10}"))))
    done = command("profile", "learn", "win98", *names, "--images-root", root, "--json")
    assert done.status == 0, done.err
    found = done.json
    assert (found["sessions"], found["ranges"], found["bytes"]) == (4, 3, 4 * UNIT)
    assert (found["lines"], found["malformed"], found["reads"]) == (13, 1, 12)
    assert "1 of 13 lines are none of a request log" in done.err
    stored = json.loads((root / "profiles" / "win98" / version / "boot.json").read_bytes())
    assert stored["ranges"] == [[0, 1, 0, 100], [8, 2, 1000, 100], [40, 1, 2000, 100]]
    assert command("profile", "show", "win98", "--images-root", root, "--json").json == stored
    text = command("profile", "show", "win98", "--images-root", root).out
    assert "boot of win98: 256 KiB in 3 ranges, from the first 30 s of 4 sessions" in text
    assert "2.000 s  100 %  from 2.5 MiB: 64 KiB" in text


def test_a_log_by_zstd(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """Logs that zstd has compressed are read."""
    program = shutil.which("zstd")
    pytest.importorskip("backports.zstd")
    if program is None:
        pytest.skip("no zstd")
    path = log(tmp_path / "log", boot(version))
    subprocess.run([program, "-q", path], check=True, timeout=10)
    done = command("profile", "learn", "win98", f"{path}.zst", "--images-root", root, "--json")
    assert done.json["sessions"] == 1


def test_options_of_learning(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """The first seconds, the size and the name can be chosen."""
    path = log(tmp_path / "log", boot(version))
    words = "profile", "learn", "win98", path, "--images-root", root, "--json"
    assert command(*words, "--seconds", "2").json["ranges"] == 2
    assert command(*words, "--profile-max-bytes", "128KiB", "--name", "short").json["bytes"] == 2 * UNIT
    stored = json.loads((root / "profiles" / "win98" / version / "short.json").read_bytes())
    assert (stored["name"], stored["ranges"]) == ("short", [[0, 1, 0, 100], [8, 1, 1000, 100]])


def test_without_a_session_the_old_profile_stays(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """Neither a log without reads, nor one whose sessions had the profile, nor a damaged one changes anything."""
    path = log(tmp_path / "log", boot(version))
    words = "profile", "learn", "win98", path, "--images-root", root
    assert command(*words).status == 0
    stored = root / "profiles" / "win98" / version / "boot.json"
    before = stored.read_bytes()
    log(path, boot("v-of-another"))
    refused = command(*words)
    assert refused.status == 1
    assert "nothing to learn from: of 3 lines 0 are reads of win98" in refused.err
    log(path, [ask(-1, version=version), *boot(version)])
    refused = command(*words)
    assert refused.status == 1
    assert "no session begins in them that did without a profile" in refused.err
    path.write_bytes(gzip.compress(b"\n".join(boot(version)))[:-20])
    refused = command(*words)
    assert refused.status == 1
    assert "is cut short" in refused.err
    assert stored.read_bytes() == before
    assert command("profile", "learn", "win98", tmp_path / "none", "--images-root", root).status == 1


def test_an_image_without_a_version(command: Command, root: Path, tmp_path: Path) -> None:
    """An image whose tag is weak has no version, and no profile."""
    entries = [{"id": "win98", "file": "win98.img", "name": "98", "etag": 'W/"1"'}]
    (root / "manifest.json").write_text(json.dumps({"images": entries}))
    refused = command("profile", "learn", "win98", log(tmp_path / "log", boot("v-1")), "--images-root", root)
    assert refused.status == 1
    assert "has no version" in refused.err


def test_published_chunks(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """A line of a published chunk that tells no range counts by its name, under the version of the catalog."""
    assert command("publish", "win98", "--chunk-size", "1MiB", "--no-sha256", "--images-root", root).status == 0
    chunked = json.loads((root / "manifest.json").read_bytes())["images"][0]["chunked_version"]
    route = "/v1/images/:image_id/chunked/:version/chunks/:chunk_name"

    def chunk(second: float, name: str, directory: str = chunked) -> bytes:
        path = f"/v1/images/win98/chunked/{directory}/chunks/{name}.bin"
        return line(second, path=path, route=route, status=200, version=None, bytes_sent=1 << 20)

    told = line(
        2,
        path="/v1/images/win98/chunked/chunks/00000003.bin",
        route="/v1/images/:image_id/chunked/chunks/:chunk_name",
        status=200,
        version=version,
        bytes_sent=1,
    )
    lines = [chunk(0, "00000000"), chunk(1, "00000002"), chunk(1, "00000001", "older"), chunk(1, "00000009"), told]
    done = command("profile", "learn", "win98", log(tmp_path / "log", lines), "--images-root", root, "--json")
    assert (done.json["reads"], done.json["version"]) == (3, version)
    stored = command("profile", "show", "win98", "--images-root", root, "--json").json
    assert stored["ranges"] == [[0, 16, 0, 100], [32, 17, 1000, 100]]


def test_recording_has_an_end(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """Without a session in the time that is allowed nothing is stored."""
    path = log(tmp_path / "log", boot(version))
    words = "profile", "record", "win98", "--log", path, "--images-root", root, "--for", "0s"
    refused = command(*words)
    assert refused.status == 1
    assert "no session of win98 that counts has begun in 0 s" in refused.err
    assert not (root / "profiles").exists()
    assert command(*words[:4], tmp_path / "none", *words[5:]).status == 1


def test_the_list_names_the_profiles_of_present_versions(
    command: Command, root: Path, version: str, tmp_path: Path
) -> None:
    """Those of other versions are served to nobody."""
    path = log(tmp_path / "log", boot(version))
    for name in ("desk", "boot"):
        command("profile", "learn", "win98", path, "--name", name, "--images-root", root)
    for place in ("win98/v-old", "other/v-1"):
        (root / "profiles" / place).mkdir(parents=True)
        (root / "profiles" / place / "boot.json").write_bytes(b"x")
    listed = command("list", "--images-root", root, "--json").json
    assert [(one["id"], one["profiles"]) for one in listed] == [("win98", ["boot", "desk"]), ("other", [])]
    assert listed[0]["version"] == version


def test_importing(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """A profile from elsewhere is taken for the same content alone, under the id and the name that it has here."""
    command("profile", "learn", "win98", log(tmp_path / "log", boot(version)), "--images-root", root)
    document = command("profile", "show", "win98", "--images-root", root, "--json").json
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(document | {"image_id": "elsewhere", "name": "first", "bytes": 5}))
    done = command("profile", "import", "win98", file, "--name", "second", "--images-root", root, "--json")
    assert done.json["path"] == f"profiles/win98/{version}/second.json"
    stored = json.loads((root / done.json["path"]).read_bytes())
    assert stored == document | {"name": "second"}
    refused = command("profile", "import", "other", file, "--images-root", root)
    assert refused.status == 1
    assert "is of the version" in refused.err
    file.write_text(json.dumps(document | {"bytes": -1}))
    refused = command("profile", "import", "win98", file, "--images-root", root)
    assert refused.status == 1
    assert "is no boot profile of the image: bytes: must be a number of bytes" in refused.err


def test_removing_a_profile(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """It goes for all versions; others stay, and empty directories do not."""
    path = log(tmp_path / "log", boot(version))
    for name in ("boot", "desk"):
        command("profile", "learn", "win98", path, "--name", name, "--images-root", root)
    old = root / "profiles" / "win98" / "v-old"
    old.mkdir()
    (old / "boot.json").write_bytes(b"x")
    done = command("profile", "remove", "win98", "--images-root", root, "--json")
    assert done.json["removed"] == [f"profiles/win98/{one}/boot.json" for one in sorted([version, "v-old"])]
    assert not old.exists()
    assert command("profile", "show", "win98", "--name", "desk", "--images-root", root).status == 0
    refused = command("profile", "remove", "win98", "--images-root", root)
    assert refused.status == 1
    assert command("profile", "remove", "win98", "--name", "desk", "--images-root", root).status == 0
    assert not (root / "profiles").exists()


def test_what_happens_to_the_profiles_of_an_image(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """They are no leftovers; they stay with the chunks, and go with the image."""
    command("profile", "learn", "win98", log(tmp_path / "log", boot(version)), "--images-root", root)
    assert command("catalog", "check", "--images-root", root, "--json").json["leftovers"] == []
    assert command("remove", "win98", "--chunks-only", "--yes", "--images-root", root).status == 0
    assert (root / "profiles" / "win98" / version / "boot.json").exists()
    assert command("remove", "win98", "--images-root", root).status == 0
    assert not (root / "profiles" / "win98").exists()
    assert (root / "win98.img").exists()


def test_a_killed_removal_is_gone_on_with(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """The removal of profiles is written down before the catalog is changed, and the next command reads it."""
    command("profile", "learn", "win98", log(tmp_path / "log", boot(version)), "--images-root", root)
    with Directory.opened(root) as top, staging_directory(top, WORK, "win98") as staging:
        plan = Plan.opened(top, staging.parent, staging.directory, "win98")
        removal = plan.profiles()
        assert removal is not None
        plan.add(removal)
        entries = [{"id": "other", "file": "other.img", "name": "o"}]
        (root / "manifest.json").write_text(json.dumps({"images": entries}))
        read = Plan.opened(top, staging.parent, staging.directory, "win98")
        assert read.unnamed(Catalog(())) == ("profiles/win98",)
    assert command("remove", "other", "--chunks-only", "--images-root", root).status == 0
    assert not (root / "profiles" / "win98").exists()


def test_copying_takes_profiles_along(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """A copy has the profiles of the image's version, as those of the version that it has there."""
    command("profile", "learn", "win98", log(tmp_path / "log", boot(version)), "--images-root", root)
    target = tmp_path / "target"
    target.mkdir()
    done = command("copy", root, target, "--id", "win98", "--json")
    assert done.status == 0, done.err
    assert done.json[0]["profiles_copied"] == ["boot"]
    there = command("profile", "show", "win98", "--images-root", target, "--json").json
    here = command("profile", "show", "win98", "--images-root", root, "--json").json
    assert there["version"] != here["version"]
    assert there == here | {"version": there["version"]}
    assert command("copy", root, target, "--id", "win98", "--json").json[0]["profiles_copied"] == []


def test_lines_of_any_length() -> None:
    """Lines are split in bounded memory: of one that is too long the beginning comes."""
    content = b"a\n" + b"x" * 3_000_000 + b"\nb\n\nlast"

    class Whole:
        place = 0

        def read(self, most: int, /) -> bytes:
            piece = content[self.place : self.place + min(most, 700_000)]
            self.place += len(piece)
            return piece

    found = [*split_lines(Peekable(Whole()))]
    assert [one for one in found if len(one) < 10] == [b"a", b"b", b"", b"last"]
    assert [len(one) for one in found if len(one) >= 10] == [65537]


def test_a_place_that_is_a_link_is_refused(command: Command, root: Path, version: str, tmp_path: Path) -> None:
    """No profile is written through a symbolic link."""
    (tmp_path / "elsewhere").mkdir()
    (root / "profiles").symlink_to(tmp_path / "elsewhere")
    done = command("profile", "learn", "win98", log(tmp_path / "log", boot(version)), "--images-root", root)
    assert done.status == 1
    assert "symbolic link" in done.err
    assert not [*(tmp_path / "elsewhere").iterdir()]
