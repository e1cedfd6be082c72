"""Debian packages, downloaded by apt under a configuration of its own and unpacked: nothing is installed."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

GUEST = "i386"
KERNEL = re.compile(r"linux-image-(\d[\d.]*-\d+)-686")
MINUTES = 60.0


class ImageError(Exception):
    """The disk cannot be built; the message is one line for the user."""


def run(*command: str | Path, env: Mapping[str, str] | None = None, text: str | None = None) -> str:
    """Run a program and return what it printed; ImageError with its complaint if it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(  # noqa: S603 - programs of Debian, with words of ours
            words, env=env, input=text, capture_output=True, text=True, check=False, timeout=10 * MINUTES, umask=0o022
        )
    except FileNotFoundError:
        raise ImageError(f"{words[0]} is missing; this needs Debian's apt, dpkg, e2fsprogs") from None
    except subprocess.TimeoutExpired:
        raise ImageError(f"{words[0]} did not end within ten minutes") from None
    if done.returncode:
        raise ImageError(f"{' '.join(words[:3])} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


@frozen
class Packages:
    """An apt of our own below `home`, for packages of this machine and of the guest's."""

    home: Path
    host: str
    fetched: dict[str, str] = field(factory=dict)
    """File names of packages and their SHA-256, in the order of their names."""

    @classmethod
    def prepare(cls, home: Path) -> Packages:
        """Write the configuration, and bring the lists of packages."""
        packages = cls(home, run("dpkg", "--print-architecture").strip())
        for name in ("state", "lists/partial", "cache/archives/partial", "debs"):
            (home / name).mkdir(parents=True, exist_ok=True)
        (home / "status").touch()
        (home / "apt.conf").write_text(packages._configuration(), encoding="utf-8")
        try:
            packages._apt("apt-get", "-qq", "update")
        except ImageError:
            if not list((home / "lists").glob("*binary-i386*Packages*")):
                raise  # else one list of several could not be had, and the others do
        return packages

    def _configuration(self) -> str:
        return (
            f'APT::Architecture "{GUEST}"; APT::Architectures {{ "{GUEST}"; "{self.host}"; }};\n'
            'APT::Sandbox::User "root"; Acquire::Languages "none";\n'
            f'Dir::State "{self.home}/state"; Dir::State::Lists "{self.home}/lists";\n'
            f'Dir::State::status "{self.home}/status"; Dir::Cache "{self.home}/cache";\n'
        )

    def _apt(self, *command: str) -> str:
        # `env` changes the directory, as apt downloads into the current one.
        at = ("env", f"--chdir={self.home / 'debs'}", f"APT_CONFIG={self.home / 'apt.conf'}", "LC_ALL=C")
        return run(*at, *command)

    def newest_kernel(self) -> str:
        """The release of the newest kernel for PCs without PAE, such as `6.1.0-50-686`."""
        names = self._apt("apt-cache", "search", "--names-only", "^linux-image-[0-9.]+-[0-9]+-686$").splitlines()
        return newest(names)

    def unpack(self, into: Path, *names: str) -> None:
        """Download packages and unpack them into one directory."""
        into.mkdir(parents=True, exist_ok=True)
        for name in names:
            before = set((self.home / "debs").iterdir())
            self._apt("apt-get", "-qq", "download", name)
            stem = name.partition(":")[0]
            (deb,) = set((self.home / "debs").iterdir()) - before or set((self.home / "debs").glob(f"{stem}_*.deb"))
            self.fetched[deb.name] = hashlib.sha256(deb.read_bytes()).hexdigest()
            run("dpkg-deb", "--extract", deb, into)


def newest(lines: list[str]) -> str:
    """The release of the newest kernel of lines that begin with names of packages."""
    found = [match[1] for line in lines if (match := KERNEL.fullmatch(line.partition(" ")[0]))]
    if not found:
        raise ImageError("the package lists have no kernel linux-image-*-686; Debian 12 is the last that has one")
    return f"{max(found, key=_numbers)}-686"


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release))
