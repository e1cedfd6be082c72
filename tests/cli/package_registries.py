"""A registry of npm and a mirror of Debian in one small server on this machine, with packages of a few bytes."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import lzma
import tarfile
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from attrs import define, field

SUITE = "bookworm"
V86_FILES = {
    "build/libv86.mjs": b"export class V86 {}",
    "build/v86.wasm": b"\0asm",
    "LICENSE": b"BSD",
    "build/v86-debug.wasm": b"not wanted",
}
SEABIOS_FILES = {
    "usr/share/seabios/bios.bin": b"BIOS",
    "usr/share/seabios/vgabios-stdvga.bin": b"VGA",
    "usr/share/doc/seabios/copyright": b"LGPL",
}
DRIVERS = ("sd_mod", "ata_piix", "ext4", "isofs")
RELEASE = "6.1.0-9-686"
LINUX_FILES = {
    f"boot/vmlinuz-{RELEASE}": b"kernel",
    f"usr/share/doc/linux-image-{RELEASE}/copyright": b"GPL-2",
    **{f"lib/modules/{RELEASE}/kernel/drivers/x/{name}.ko": name.encode() for name in DRIVERS},
    f"lib/modules/{RELEASE}/kernel/sound/noise.ko": b"not wanted",
}
ISOLINUX_FILES = {
    "usr/lib/ISOLINUX/isohdpfx.bin": b"c" * 432,
    "usr/lib/ISOLINUX/isolinux.bin": (bytes(64) + b"\xfb\xc0\x78\x70").ljust(5000, b"i"),
    "usr/share/doc/isolinux/copyright": b"GPL-2+",
}


def tar_of(files: Mapping[str, bytes], mode: str, prefix: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(f"{prefix}{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def deb_of(files: Mapping[str, bytes]) -> bytes:
    """A package as `dpkg-deb` writes it."""
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": tar_of(files, "w:xz", "./")}
    parts = [b"!<arch>\n"]
    for name, data in members.items():
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        parts += [head, data, b"\n" * (len(data) % 2)]
    return b"".join(parts)


@define
class Registries:
    """Both, at one origin; `answers` may be changed while it runs."""

    url: str = ""
    answers: dict[str, bytes] = field(factory=dict)
    busy: int = 0
    """So many requests are answered 503 first."""
    redirects: dict[str, str] = field(factory=dict)
    """Where paths lead to."""
    asked: list[str] = field(factory=list)
    integrity: str = ""
    """Of the package of v86."""

    def publish(self) -> None:
        """Put all packages there."""
        archive = tar_of(V86_FILES, "w:gz", "package/")
        self.integrity = f"sha512-{base64.b64encode(hashlib.sha512(archive).digest()).decode()}"
        self.answers["/v86/0.5.462"] = json.dumps({"dist": {"tarball": f"{self.url}/v86/-/v86.tgz"}}).encode()
        self.answers["/v86/-/v86.tgz"] = archive
        meta = f"linux-image-{RELEASE} (= 1)"
        stanzas = [
            self._package("seabios", SEABIOS_FILES),
            self._package("linux-image-686", {}, depends=meta),
            self._package(f"linux-image-{RELEASE}", LINUX_FILES),
            self._package(
                "busybox-static", {"bin/busybox": b"shell", "usr/share/doc/busybox-static/copyright": b"G"}
            ),
            self._package("isolinux", ISOLINUX_FILES),
            self._package("syslinux-common", {"usr/lib/syslinux/modules/bios/ldlinux.c32": b"code"}),
        ]
        self._index("\n".join(stanzas).encode())

    def _package(self, name: str, files: Mapping[str, bytes], depends: str = "") -> str:
        deb, path = deb_of(files), f"pool/main/{name}_1.deb"
        self.answers[f"/{path}"] = deb
        lines = [f"Package: {name}", "Version: 1", f"Depends: {depends}", "Description: odd", " Package: seabios"]
        return "\n".join([*lines, f"Filename: {path}", f"SHA256: {hashlib.sha256(deb).hexdigest()}", ""])

    def _index(self, text: bytes) -> None:
        packed = lzma.compress(text)
        digest, place = hashlib.sha256(packed).hexdigest(), "main/binary-i386"
        release = f"Codename: {SUITE}\nAcquire-By-Hash: yes\nMD5Sum:\n {'0' * 64} 1 {place}/Packages.xz\nSHA256:\n"
        release += f" {digest} {len(packed)} {place}/Packages.xz\n"
        self.answers[f"/dists/{SUITE}/InRelease"] = release.encode()
        self.answers[f"/dists/{SUITE}/{place}/by-hash/SHA256/{digest}"] = packed


@contextlib.contextmanager
def registries() -> Iterator[Registries]:
    """Serve both until the end of a with block."""
    served = Registries()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            served.busy -= 1
            body = served.answers.get(self.path)
            location = served.redirects.get(self.path)
            self.send_response(503 if served.busy >= 0 else 302 if location else 404 if body is None else 200)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_port}"
        served.publish()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
