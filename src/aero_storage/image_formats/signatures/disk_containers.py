"""Images of disks in containers that qemu does not read: of virtual machines, backups, forensics, optical discs."""

from __future__ import annotations

from aero_storage.image_formats.signatures.signature import Signature, by_magic, by_text, weakly

_RESTORE = "restore it to a disk, or to a file, first: "
_MACOS = "convert it on a Mac: hdiutil convert {} -format UDTO -o disk"
_NO_DISK = "import the disk that belongs to it"
_VMDK = "import the descriptor file of the disk, which names this part"
_EWF = "convert it: ewfexport -f raw -t disk {}"
_RAW_DISC = b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0"

_MACHINES: tuple[Signature, ...] = (
    *by_magic("an Android sparse image", "convert it: simg2img {} disk.img", b"\x3a\xff\x26\xed"),
    *by_magic("an update for Android", "unpack its partitions: payload-dumper-go {}", b"CrAU"),
    *by_magic("an encrypted DMG", _MACOS, b"encrcdsa"),
    *by_magic("an encrypted DMG", _MACOS, b"cdsaencr", at=-8),
    *by_magic("a sparse image of macOS", _MACOS, b"sprs\0\0\0"),
    *by_magic("one part of a VMDK disk", _VMDK, b"\xbe\xba\xfe\xca\0\0\0\0"),
    *by_magic(
        "the state of a VMware machine", _NO_DISK, b"\xd2\xbe\xd2\xbe", b"\xd0\xbe\xd2\xbe", b"\xd1\xbe\xd2\xbe"
    ),
    *by_text("the settings of a VMware machine", _NO_DISK, b".encoding = ", b"config.version = "),
    *by_magic("the state of a VirtualBox machine", _NO_DISK, b"\x7fVirtualBox SavedState V"),
    *by_magic("the state of a qemu machine", _NO_DISK, b"QEVM"),
    *by_magic("a Proxmox backup (VMA)", "unpack it: vma extract {} DIRECTORY", b"VMA\0"),
    *by_magic(
        "a sparse image of Bochs", "convert it: bximage -func=convert -imgmode=growing {}", b"\xce\x8a\x46\x02"
    ),
    *by_magic(
        "a cloop image", "convert it: qemu-img convert -f cloop -O raw {} disk.img", b"#!/bin/sh\n#V2.0 Format"
    ),
    *by_text(
        "an OVF description, no disk", "import the disk that it names", b"<?xml", b"<ovf:", b"<env", holds=b"envelope"
    ),
    *by_text("the description of a Parallels disk", "import the .hds file beside it", b"<?xml", holds=b"<parallels_"),
    *by_text("the settings of a VirtualBox machine", _NO_DISK, b"<?xml", b"<virtualbox", holds=b"<virtualbox"),
    *by_text("the settings of a libvirt machine", _NO_DISK, b"<domain ", b"<!--", holds=b"<domain "),
    *by_magic("a mainframe disk of Hercules", "convert it by Hercules", b"CKD_P370", b"CKD_C370", b"FBA_C370"),
    *by_magic("an image of Virtual98", "convert it by an emulator of PC-98", b"VHD1.00\0"),
    *by_magic("an image of T98-Next", "convert it by an emulator of PC-98", b"T98HDDIMAGE.R0", b"T98FDDIMAGE.R"),
)
_BACKUPS: tuple[Signature, ...] = (
    *by_magic("a forensic image (EWF, E01)", _EWF, b"EVF\x09\x0d\x0a\xff\0", b"EVF2\x0d\x0a\x81\0"),
    *by_magic(
        "logical evidence (L01), no disk", "take the files out: ewfmount {} DIRECTORY", b"LVF\x09\x0d\x0a\xff\0"
    ),
    *by_magic("logical evidence (Lx01), no disk", "take the files out: ewfmount {} DIRECTORY", b"LEF2\x0d\x0a\x81\0"),
    *by_magic("a forensic image (AFF)", "convert it: affconvert -r -e raw {}", b"AFF10\r\n\0"),
    *by_magic("a memory dump (LiME)", "import a disk", b"EMiL"),
    *by_magic("a memory dump of Windows", "import a disk", b"PAGEDUMP", b"PAGEDU64", b"MDMP\x93\xa7"),
    *by_magic("a WIM archive", "apply it to a disk: wimapply {} 1 TARGET", b"MSWIM\0\0\0", b"WLPWM\0\0\0"),
    *by_magic("a Ghost image", f"{_RESTORE}by Ghost", b"\xfe\xef\x01"),
    *by_magic("an Acronis backup", f"{_RESTORE}by Acronis", b"\xb4\x6e\x68\x44", b"\xce\x24\xb9\xa2"),
    *by_magic("a Partclone image", f"{_RESTORE}partclone.restore -C -s {{}} -O disk.img", b"partclone-image"),
    *by_magic("a Partimage image", f"{_RESTORE}partimage restore DEVICE {{}}", b"PaRtImAgE-VoLuMe"),
    *by_magic(
        "an image of ntfsclone",
        f"{_RESTORE}ntfsclone --restore-image --overwrite disk.img {{}}",
        b"\0ntfsclone-image",
    ),
    *by_magic("an FSArchiver archive", f"{_RESTORE}fsarchiver restfs {{}} id=0,dest=DEVICE", b"FsArCh_"),
    *by_magic("a stream of btrfs send", "receive it: btrfs receive -f {} DIRECTORY", b"btrfs-stream\0"),
    *by_magic("a stream of zfs send", "receive it: zfs receive POOL/NAME < {}", b"\xac\xcb\xba\xf5\x02\0\0\0", at=8),
    *by_text("a map of ddrescue", "import the image that belongs to it", b"# mapfile. created by gnu ddrescue"),
)
_DISCS: tuple[Signature, ...] = (
    *by_magic("a CHD image of MAME", "convert it: chdman extracthd -i {} -o disk.img", b"MComprHD"),
    *by_magic("a compressed ISO (CSO)", "unpack it: maxcso --decompress {}", b"CISO", b"ZISO", b"JISO", b"DAX\0"),
    *by_magic("a Nero image", "convert it: nrg2iso {} disk.iso", b"NER5", at=-12),
    *by_magic("a Nero image", "convert it: nrg2iso {} disk.iso", b"NERO", at=-8),
    *by_magic("the description of a CD image", "convert the .mdf file: iat FILE.mdf disk.iso", b"MEDIA DESCRIPTOR"),
    *by_magic("the description of a CD image", "convert its image: iat FILE disk.iso", b"BWT5 STREAM SIGN"),
    *weakly("a DiscJuggler image", "convert it: cdirip {}", b"\4\0\0\x80", b"\5\0\0\x80", b"\6\0\0\x80", at=-8),
    *by_magic("a CD image in raw sectors of 2352 bytes", "convert it: iat {} disk.iso", _RAW_DISC),
    *by_magic("a MagicISO image", "convert it: uif2iso {} disk.iso", b"bbis", at=-64),
    *by_magic("a compressed ISO (ISZ)", "convert it: poweriso convert {} -o disk.iso", b"IsZ!"),
    *by_magic("a compressed ISO (DAA)", "convert it: daa2iso {} disk.iso", b"DAA\0", b"GBI\0"),
    *by_magic("a compressed Wii or GameCube disc", "convert it by Dolphin", b"RVZ\1", b"WIA\1", b"\1\xc0\x0b\xb1"),
    *by_magic("a Wii disc (WBFS)", "convert it: wit copy --iso {} disk.iso", b"WBFS"),
    *by_text(
        "a CUE sheet, no disc", "import the image that it names", b'file "', b"rem ", b"catalog ", holds=b"track "
    ),
    *by_text("the description of a CD image", "import the image that it names", b"[clonecd]", b"cd_rom", b"cd_da"),
)
DISK_CONTAINERS = (*_MACHINES, *_BACKUPS, *_DISCS)
