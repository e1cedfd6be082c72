"""The boot partition: FAT16 with syslinux, a kernel and its initial RAM disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tools.os_image.packages import run
from tools.os_image.root_files import EPOCH

MIB = 1 << 20
SERIAL = "61e50015"
# An emulator runs each of these slowly: names of trace events (14 of 44 s), ISA cards, self-tests, certificates.
ARGUMENTS = """
root=/dev/sda2 rootwait console=ttyS0 console=tty0 quiet mitigations=off nowatchdog tsc=reliable acpi=off pnpbios=off
mce=off nomodeset random.trust_cpu=on nokaslr noisapnp cryptomgr.notests apparmor=0 audit=0
initcall_blacklist=trace_eval_init,load_system_certificate_list
"""
CONFIGURATION = f"""DEFAULT aero
PROMPT 0
TIMEOUT 0
LABEL aero
KERNEL vmlinuz
INITRD initrd.gz
APPEND {" ".join(ARGUMENTS.split())}
"""


def make_boot_partition(image: Path, tools: Path, kernel: bytes, initial_ram_disk: bytes) -> None:
    """Make and fill the partition with the programs that are unpacked below `tools`."""
    contents = {"vmlinuz": kernel, "initrd.gz": initial_ram_disk, "syslinux.cfg": CONFIGURATION.encode()}
    mib = (len(kernel) + len(initial_ram_disk)) // MIB + 3
    env = _environment(tools)
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(mib * MIB)
    run("mformat", "-i", image, "-v", "AEROBOOT", "-N", SERIAL, "-c", "4", "::", env=env)
    for name, data in contents.items():
        source = image.with_name(name)
        source.write_bytes(data)
        run("mcopy", "-i", image, source, f"::{name}", env=env)
    run("syslinux", "--install", image, env=env)  # after the files: its own one is not moved any more


def _environment(tools: Path) -> Mapping[str, str]:
    """Variables for mtools: our programs first, and all times the same."""
    path = os.pathsep.join([str(tools / "usr" / "bin"), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "SOURCE_DATE_EPOCH": str(EPOCH), "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
