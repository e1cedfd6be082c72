"""The Dockerfile, without a builder: its rules by reading, its commands by running them here."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

PROJECT = Path(__file__).parents[2]
BINARIES = Path(sys.executable).parent
SHOWS_WITHIN = 10
"""Seconds: one, by http.md §3, and as many more as a busy machine may need."""


@attrs.frozen
class Instruction:
    """One instruction, its words, and the flags before them."""

    name: str
    flags: dict[str, str]
    rest: str

    @property
    def words(self) -> list[str]:
        """An array in exec form, or the words as a shell splits them."""
        if self.rest.startswith("["):
            words: list[str] = json.loads(self.rest)
            return words
        return shlex.split(self.rest)


def instructions() -> Iterator[Instruction]:
    text = (PROJECT / "etc/Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        given = re.match(r"(?:--\S+\s+)*", rest)
        assert given is not None
        flags = dict(re.findall(r"--([a-z-]+)=(\S+)", given[0]))
        yield Instruction(name, flags, " ".join(rest[given.end() :].split()))


def base() -> str:
    """The image that both stages are built upon, unless the builder is told another."""
    (argument,) = [one for one in ALL[: STARTS[0]] if one.name == "ARG"]
    name, _, value = argument.rest.partition("=")
    assert name == "PYTHON_IMAGE"
    return value


ALL = list(instructions())
STARTS = [index for index, one in enumerate(ALL) if one.name == "FROM"]
BUILD, FINAL = ALL[: STARTS[-1]], ALL[STARTS[-1] :]


def only(name: str) -> Instruction:
    (found,) = [one for one in FINAL if one.name == name]
    return found


def test_stages() -> None:
    """What builds does not come along: the last stage takes the environment alone, and nothing from a network."""
    assert len(STARTS) == 2
    assert {one.words[0] for one in ALL if one.name == "FROM"} == {"${PYTHON_IMAGE}"}
    assert base() == "python:3.13-slim"
    (copy,) = [one for one in FINAL if one.name == "COPY"]
    assert (copy.flags, copy.words) == ({"from": "build"}, ["/opt/aero-storage", "/opt/aero-storage"])
    assert not [one for one in FINAL if one.name == "RUN" and re.search("pip|apt|curl", one.rest)]


def test_extras() -> None:
    """The daemon there speaks TLS, and the operator's command unpacks all that it knows: both extras are in."""
    (installed,) = [one.rest for one in BUILD if "/pip install " in one.rest]
    asked = re.search(r'"\.\[([a-z,]+)\]"', installed)
    assert asked is not None
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(asked[1].split(",")) == set(project["optional-dependencies"]) - {"bench", "test"}


def test_known_python() -> None:
    """The Python of the image is one that the project names."""
    version = base().removeprefix("python:").removesuffix("-slim")
    assert f'"Programming Language :: Python :: {version}"' in (PROJECT / "pyproject.toml").read_text()


def test_sources_are_there() -> None:
    """All that is copied exists, is in the repository, and is not withheld from the builder."""
    ignored = (PROJECT / "etc/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = {source.rstrip("/") for one in BUILD if one.name == "COPY" for source in one.words[:-1]}
    assert copied == let_in
    assert all((PROJECT / source).exists() for source in copied)


def test_sources_suffice() -> None:
    """What the package is made of, and what its metadata names, is all copied."""
    copied = {source.rstrip("/") for one in BUILD if one.name == "COPY" for source in one.words[:-1]}
    pyproject = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'^(?:readme|license-files) = \[?"([^"]+)"', pyproject, re.MULTILINE)
    places = re.findall(r'^"?(?:aero_storage|twisted\.plugins)"? = "([^"/]+)/', pyproject, re.MULTILINE)
    package = PROJECT / "src/aero_storage"
    linked = {one.resolve().relative_to(PROJECT).parts[0] for one in package.rglob("*") if one.is_symlink()}
    assert copied == {"pyproject.toml", "share", *named, *places, *linked}
    assert {*named, *places, *linked} == {"README.md", "LICENSE", "src", "twisted", "browser"}


def test_nobody_in_particular() -> None:
    """It runs as a user by number, not root, from before the first thing that could run as it."""
    user = only("USER")
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", user.rest)
    after = [one.name for one in FINAL[FINAL.index(user) :]]
    assert "RUN" not in after
    assert {"ENTRYPOINT", "HEALTHCHECK"} <= set(after)


def test_exec_form() -> None:
    """No shell stands between the container's signals and the daemon."""
    assert only("ENTRYPOINT").rest.startswith("[")
    assert only("CMD").rest == "[]"
    assert only("HEALTHCHECK").rest.startswith("CMD [")
    assert only("STOPSIGNAL").rest == "SIGTERM"


def environment(root: Path, port: str = "0") -> dict[str, str]:
    """What ENV sets, with our places for the image's."""
    pairs = (word.partition("=") for one in FINAL if one.name == "ENV" for word in one.words)
    given = {name: value for name, _, value in pairs if "$" not in value}
    given["AERO_STORAGE_IMAGE_ROOT"] = given["AERO_STORAGE_IMAGE_ROOT"].replace("/images", str(root))
    given["AERO_STORAGE_LISTEN_ADDR"] = given["AERO_STORAGE_LISTEN_ADDR"].replace("0.0.0.0:8080", f"127.0.0.1:{port}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
    return clean | given | {"PATH": f"{BINARIES}{os.pathsep}{clean['PATH']}"}


def healthy(port: str) -> int:
    """Run what HEALTHCHECK names, against our port; its status."""
    command = json.loads(only("HEALTHCHECK").rest.removeprefix("CMD "))
    words = [word.replace(":8080/", f":{port}/") for word in command]
    env = environment(Path()) | {"http_proxy": "http://192.0.2.1:9"}
    return subprocess.run(words, env=env, capture_output=True, timeout=30, check=False).returncode


def address_in(lines: Iterable[str]) -> str:
    """Read the log until it says where the daemon listens."""
    events = map(json.loads, lines)
    return str(next(event["address"] for event in events if event["message"] == "listening"))


def test_entrypoint_and_health(tmp_path: Path) -> None:
    """The entry point serves the volume and stops with 0; the health check tells when it is ready."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/disk.img").write_bytes(bytes(4096))
    process = subprocess.Popen(
        only("ENTRYPOINT").words, cwd="/", env=environment(tmp_path / "images"), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            port = address_in(process.stdout).rpartition(":")[2]
            assert healthy(port) == 0
            manifest = '[{"id": "gone", "file": "gone.img", "name": "Gone"}]'
            (tmp_path / "images/manifest.json").write_text(manifest)
            deadline = time.monotonic() + SHOWS_WITHIN
            while healthy(port) == 0:
                assert time.monotonic() < deadline
            process.terminate()
            assert process.wait(20) == 0
            assert healthy(port) == 1
        finally:
            process.kill()


def test_port() -> None:
    """The port that is exposed is the one that is listened at."""
    port = only("EXPOSE").rest
    env = [word for one in FINAL if one.name == "ENV" for word in one.words]
    assert f"AERO_STORAGE_LISTEN_ADDR=0.0.0.0:{port}" in env
    assert f":{port}/readyz" in only("HEALTHCHECK").rest


def test_volume() -> None:
    """The volumes are images root and cache, and not where twistd is started, which looks for plugins there."""
    volume, cache = only("VOLUME").words
    assert cache in only("RUN").words
    env = [word for one in FINAL if one.name == "ENV" for word in one.words]
    assert f"AERO_STORAGE_IMAGE_ROOT={volume}" in env
    assert only("WORKDIR").rest == "/"
