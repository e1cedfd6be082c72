"""Ceph: a monitor, three OSDs that keep three copies in memory, and two S3 gateways (radosgw).

Debian: `apt-get install --no-install-recommends ceph-mon ceph-osd ceph-common radosgw` (about 90 packages).
"""

from __future__ import annotations

import contextlib
import shutil
import string
import uuid
from collections.abc import Iterator
from pathlib import Path

import attrs
from tools.stores.access import S3Access
from tools.stores.processes import LOOPBACK, Processes, StoreError, answers, free_ports, processes
from tools.stores.signing import S3Key

CONFIG = Path(__file__).with_name("ceph.conf.in")
PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
OSDS = range(3)
GATEWAYS = range(2)
OWNER = S3Key("AEROACCESSKEY0000000", "aeroSecretKeyForTestsOnly000000000000000", "default")
STRANGER = S3Key("OTHERACCESSKEY000000", "otherSecretKeyForTestsOnly00000000000000", "default")
"""Somebody with a good key who may read nothing of the owner's."""


def missing() -> str | None:
    """Say what is not installed."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    packages = "ceph-mon ceph-osd ceph-common radosgw"
    return f"{absent[0]} is not installed (Debian: apt-get install {packages})" if absent else None


@attrs.frozen
class Ceph:
    """A running cluster. Gateways that a test kills it starts again; an OSD stays dead."""

    processes: Processes
    uuids: tuple[str, ...]
    ports: tuple[int, ...]

    @property
    def access(self) -> S3Access:
        """The first gateway."""
        return self.gateway(0)

    def gateway(self, number: int) -> S3Access:
        """Return the way through one of the gateways."""
        return S3Access(f"http://{LOOPBACK}:{self.ports[number]}", OWNER)

    def start_gateway(self, number: int) -> None:
        """Start a gateway that does not run, without waiting.

        Without `tcp_nodelay` each small answer on a kept connection takes 44 ms: head and body are two writes, and
        the second waits for the delayed acknowledgement of the first.
        """
        frontend = f"beast endpoint={LOOPBACK}:{self.ports[number]} tcp_nodelay=1"
        words = ["radosgw", "-f", *self._config, "--no-mon-config", "-n", f"client.rgw.{number}"]
        self.processes.start(f"gateway.{number}", [*words, "--rgw-frontends", frontend])

    def until_gateway(self, number: int) -> None:
        """Wait until a gateway answers."""
        self.processes.until(lambda: answers(self.ports[number]), f"gateway {number}")

    def start_osd(self, number: int) -> None:
        """Make and start an OSD, without waiting.

        What it holds is in its memory, so that one which was killed cannot come back as it was. A test that kills
        one has a cluster of its own.
        """
        (self.processes.home / f"osd.{number}").mkdir()
        words = ["ceph-osd", *self._config, "-i", str(number)]
        self.processes.run([*words, "--mkfs", "--osd-uuid", self.uuids[number]])
        self.processes.start(f"osd.{number}", [*words, "-f"])

    def until_osds(self) -> None:
        """Wait until all OSDs have said that they are up."""
        self.processes.until(self._are_osds_up, "the OSDs")

    def ask(self, *commands: str) -> str:
        """Have the monitor carry out commands, which takes one process for all of them."""
        words = ["ceph", *self._config, "--connect-timeout", "20", "-f", "json"]
        return self.processes.run(words, given="\n".join([*commands, ""]))

    def administer(self, *words: str) -> None:
        """Run `radosgw-admin`."""
        self.processes.run(["radosgw-admin", *self._config, "--no-mon-config", *words])

    def make_user(self, name: str, key: S3Key) -> None:
        """Make a user with a key."""
        keys = ["--access-key", key.access, "--secret-key", key.secret]
        self.administer("user", "create", "--uid", name, "--display-name", name, *keys)

    @property
    def _config(self) -> list[str]:
        return ["--conf", str(self.processes.home / "ceph.conf")]

    def _are_osds_up(self) -> bool:
        return f'"num_up_osds":{len(OSDS)},' in self.ask("osd stat")


@attrs.frozen
class _Maker:
    """Makes a cluster out of nothing: the keys and the monitor's first map."""

    started: Processes
    port: int

    def write_config(self) -> None:
        fields = {"fsid": str(uuid.uuid4()), "port": self.port, "home": self.started.home}
        text = string.Template(CONFIG.read_text(encoding="utf-8")).substitute(fields)
        (self.started.home / "ceph.conf").write_text(text, encoding="utf-8")
        self._make_map(str(fields["fsid"]))

    def make_keys(self) -> None:
        """Write the keyring: a monitor knows from its first day on what it finds there.

        So nobody has to ask it for keys afterwards, a second each.
        """
        everything = {"mon": "allow *", "osd": "allow *", "mgr": "allow *"}
        osd = {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"}
        gateway = {"mon": "allow rw", "osd": "allow rwx"}
        names = {"mon.": {"mon": "allow *"}, "client.admin": everything}
        names |= {f"osd.{number}": osd for number in OSDS} | {f"client.rgw.{number}": gateway for number in GATEWAYS}
        keyring = self.started.home / "keyring"
        for name, caps in names.items():
            words = [word for service, right in caps.items() for word in ("--cap", service, right)]
            create = [] if keyring.exists() else ["--create-keyring"]
            self.started.run(["ceph-authtool", keyring, *create, "--gen-key", "-n", name, *words])

    def start_monitor(self) -> None:
        home = self.started.home
        words = ["ceph-mon", "--conf", str(home / "ceph.conf"), "-i", "a"]
        self.started.run([*words, "--mkfs", "--monmap", str(home / "monmap"), "--keyring", str(home / "keyring")])
        self.started.start("mon", [*words, "-f"])

    def _make_map(self, fsid: str) -> None:
        address = ["--addv", "a", f"[v2:{LOOPBACK}:{self.port}]"]
        self.started.run(
            [
                "monmaptool",
                "--create",
                "--fsid",
                fsid,
                "--enable-all-features",
                *address,
                self.started.home / "monmap",
            ]
        )


@contextlib.contextmanager
def ceph(home: Path) -> Iterator[Ceph]:
    """Run a cluster below a directory that does not exist yet."""
    if reason := missing():
        raise StoreError(reason)
    port, *ports = free_ports(1 + len(GATEWAYS))
    with processes(home) as started:
        for name in ("log", "mon", "rgw"):
            (home / name).mkdir()
        maker = _Maker(started, port)
        maker.write_config()
        maker.make_keys()
        maker.start_monitor()
        cluster = Ceph(started, tuple(str(uuid.uuid4()) for _ in OSDS), tuple(ports))
        start(cluster)
        yield cluster


def start(cluster: Ceph) -> None:
    """Start all but the monitor."""
    cluster.ask(*(f"osd new {cluster.uuids[number]} {number}" for number in OSDS))
    for number in OSDS:
        cluster.start_osd(number)
    cluster.until_osds()
    cluster.make_user("aero", OWNER)  # makes the zone and its pools, which the gateways then find
    for number in GATEWAYS:
        cluster.start_gateway(number)
    cluster.make_user("other", STRANGER)
    for number in GATEWAYS:
        cluster.until_gateway(number)
