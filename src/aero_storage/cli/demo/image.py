"""The image of the guest, made of what packages have: a kernel, its RAM disk, and a root where one can be made."""

from __future__ import annotations

import tempfile
from pathlib import Path

from aero_storage.cli.demo import programs
from aero_storage.cli.demo.boot_disc import CONFIGURATION, LOADER, LOADER_CODE, make_disc
from aero_storage.cli.demo.initial_ram_disk import disk_starter, whole_system
from aero_storage.cli.demo.packages import Contents
from aero_storage.cli.demo.root_files import DATA, files, make_root, root_entries

ROOT_MIB = 24
# An emulator runs each of these slowly: names of trace events (14 of 44 s), ISA cards, self-tests, certificates.
_ARGUMENTS = """
console=ttyS0 console=tty0 quiet mitigations=off nowatchdog tsc=reliable acpi=off pnpbios=off
mce=off nomodeset random.trust_cpu=on nokaslr noisapnp cryptomgr.notests apparmor=0 audit=0
initcall_blacklist=trace_eval_init,load_system_certificate_list
"""
_CONFIGURATION = f"""DEFAULT aero
PROMPT 0
TIMEOUT 0
LABEL aero
KERNEL /vmlinuz
INITRD /initrd.gz
APPEND {" ".join(_ARGUMENTS.split())}
"""


def make_image(contents: Contents, *, with_root: bool) -> bytes:
    """Return the image; without a root all of the guest but its data is in the RAM disk. Raises OperatorError."""
    every = files(contents.busybox, contents.licences)
    disc = {
        LOADER: contents.loader,
        LOADER_CODE: contents.loader_code,
        CONFIGURATION: _CONFIGURATION.encode(),
        "VMLINUZ": contents.kernel,
    }
    if with_root:
        disc["INITRD.GZ"] = disk_starter(contents.busybox, contents.modules)
        with tempfile.TemporaryDirectory(prefix="aero-demo-") as name:
            root = Path(name) / "root.ext4"
            make_root(root, ROOT_MIB, every)
            return make_disc(contents.first_sector, disc, root.read_bytes())
    disc["INITRD.GZ"] = whole_system(root_entries(every), contents.modules)
    data = {file.path.removeprefix(DATA).upper(): file.data for file in every if file.path.startswith(DATA)}
    return make_disc(contents.first_sector, disc | data)


def can_make_root() -> bool:
    """Return whether this machine has what makes file systems."""
    return programs.are_installed()
