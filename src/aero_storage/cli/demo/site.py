"""The directory of the demo: downloads, the image that is made of them, its catalog, and licences."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import attrs

from aero_storage import strict_json
from aero_storage.atomic_files import Directory, Replaceable, Waiting, locked
from aero_storage.catalog.model import MANIFEST_NAME
from aero_storage.cli.demo import image
from aero_storage.cli.demo.packages import Contents, fetch_contents
from aero_storage.cli.downloads import emulator
from aero_storage.cli.downloads.cache import Digest
from aero_storage.cli.downloads.emulator_directory import at_work, has_leftovers, present, remove
from aero_storage.emulator.files import EmulatorFiles, read_bounded
from aero_storage.errors import JsonError, OperatorError
from aero_storage.settings.table import PAGE_DIRECTORY

IMAGE_ID = "linux"
_IMAGES, _DOWNLOADS, _LICENCES, _FACTS = "images", "downloads", "licences", "demo.json"
_FILE = "linux.img"
_BUILDERS = ("boot_disc.py", "image.py", "initial_ram_disk.py", "packages.py", "root_files.py")
_OF_FACTS = {"sha256", "packages", "builders", "replaces"}
_LOCK, _MOST_WAIT = ".demo.lock~", 600.0
_MOST_FACTS_BYTES, _MOST_FACTS = 1 << 20, 10_000
_DOWNLOAD = re.compile(r"[0-9a-f]{16}-.+")
_PLACEHOLDER_MIB = 16
_SECTOR = 512

Say = Callable[[str], None]


@attrs.frozen
class DemoSite:
    """The directory of a demo."""

    home: Path

    @property
    def images(self) -> Path:
        """The images root."""
        return self.home / _IMAGES

    @property
    def downloads(self) -> Path:
        """Where downloads are kept."""
        return self.home / _DOWNLOADS

    @property
    def emulator(self) -> Path:
        """Where v86 and SeaBIOS are."""
        return self.images / PAGE_DIRECTORY

    def claim(self) -> None:
        """Make the directory. Raises OperatorError if it has files that are not of a demo, or leads elsewhere."""
        self._check_own_directories()
        if self.home.is_dir() and any(self.home.iterdir()) and not self._is_ours:
            raise OperatorError(f"{self.home} has other files in it; name a directory that is empty, or not there")
        if not (self.home / _FACTS).exists():
            self._write_facts({})

    def _check_own_directories(self) -> None:
        """Refuse links in place of directories: files elsewhere would be written over, and removed."""
        for path in self._directories:
            if path.is_symlink():
                raise OperatorError(
                    f"{path} is a symbolic link, and a demo has directories of its own; remove the link"
                )

    @property
    def _directories(self) -> tuple[Path, ...]:
        """Those in the directory of the demo, the lower ones first."""
        return self.emulator, self.images, self.downloads, self.home / _LICENCES

    @property
    def _is_ours(self) -> bool:
        try:
            return self._facts().keys() <= _OF_FACTS
        except FileNotFoundError:  # or the demo was killed as it began
            names = {path.name for path in self.home.iterdir()} if self.home.is_dir() else set()
            return bool(names) and names <= {_LOCK, f".{_FACTS}~"}
        except (OSError, JsonError, AttributeError):
            return False

    def alone(self, say: Say) -> AbstractContextManager[None]:
        """Hold the directory for a with block: another process that works in it is waited for."""
        return locked(self.home / _LOCK, Waiting(_MOST_WAIT, say), keeps_file=False)

    @property
    def has_image(self) -> bool:
        """Whether the image that the demo has built is there."""
        try:
            return Digest("sha256", str(self._facts()["sha256"])).fits(self.images / _FILE)
        except (OSError, JsonError, KeyError, TypeError):
            return False

    @property
    def is_current(self) -> bool:
        """Whether it is there, and built to the end as this version builds it."""
        return self.has_image and self._facts().get("builders") == builders() and "replaces" not in self._facts()

    def _facts(self) -> dict[str, object]:
        """Return what is written down. Raises JsonError, FileNotFoundError if nothing is, and other OSErrors."""
        path = self.home / _FACTS
        body = read_bounded(path, _MOST_FACTS_BYTES)
        if body is None and not path.exists():
            raise FileNotFoundError(path)
        facts: dict[str, object] = strict_json.load(body or b"", _MOST_FACTS)  # type: ignore[assignment]
        return facts

    def put_emulator(self, found: EmulatorFiles) -> None:
        """Write v86 and SeaBIOS."""
        with at_work(self.emulator, Waiting()) as work:
            work.store(found)

    def build_image(self, contents: Contents) -> None:
        """Write the image, its catalog, the licences of its parts, and what it was made of.

        That is written first, too, so that the files of a build that was killed are known.
        """
        data = image.make_image(contents, with_root=image.can_make_root())
        packages = [{"name": one.name, "version": one.version, "sha256": one.sha256} for one in contents.packages]
        facts = {"sha256": hashlib.sha256(data).hexdigest(), "packages": packages, "builders": builders()}
        self._write_facts({**facts, "replaces": self._known()})
        for path in self._own_licences():
            if path.stem not in contents.licences:
                path.unlink()
        for name, text in contents.licences.items():
            _write(self.home / _LICENCES / f"{name}.txt", text)
        _write(self.images / _FILE, data)
        self._write_catalog(_LINUX)
        self._write_facts(facts)

    def _write_facts(self, facts: Mapping[str, object]) -> None:
        _write(self.home / _FACTS, json.dumps(facts, indent=2).encode() + b"\n")

    def _known(self) -> dict[str, list[str]]:
        """Return the digests that images of the demo have had here, and the packages that it has licences of."""
        facts = self._facts() if (self.home / _FACTS).exists() else {}
        replaced = facts.get("replaces")
        earlier = replaced if isinstance(replaced, dict) else {}
        digests = {*_texts(earlier.get("sha256")), *_texts([facts.get("sha256", "")])}
        names = {*_texts(earlier.get("packages")), *_texts(facts.get("packages"), "name")}
        return {"sha256": sorted(digests), "packages": sorted(names)}

    def put_placeholder(self) -> None:
        """Write an image that needs no download: each sector begins with its own number."""
        _write(self.images / _FILE, _placeholder())
        self._write_catalog(_NUMBERED)

    def _write_catalog(self, document: bytes) -> None:
        """Write the catalog, unless somebody has put images of their own into it."""
        if self._has_our_catalog or not (self.images / MANIFEST_NAME).exists():
            _write(self.images / MANIFEST_NAME, document)

    @property
    def _has_our_catalog(self) -> bool:
        return _content(self.images / MANIFEST_NAME) in (_LINUX, _NUMBERED)

    def licences(self) -> Iterator[Path]:
        """The texts of licences of what is in the image."""
        return iter(sorted((self.home / _LICENCES).glob("*.txt")))

    def remove(self, say: Say) -> list[Path]:
        """Remove what the demo has made, and its directories where nothing else is in them. Raises OperatorError."""
        if not self._is_ours:
            raise OperatorError(f"{self.home} has no demo in it")
        self._check_own_directories()
        with self.alone(say):
            self.clean()
            there = [path for path in self._made() if path.is_file()]
            for path in there:
                path.unlink()
            remove(self.emulator, Waiting())
        for directory in (*self._directories, self.home):
            if directory.is_dir() and not any(directory.iterdir()):
                directory.rmdir()
        return there

    def clean(self) -> None:
        """Remove what a killed process was writing; the directory is held."""
        for path in [*self._unfinished()]:
            path.unlink()
        if has_leftovers(self.emulator):
            with at_work(self.emulator, Waiting()) as work:
                work.clean()

    def _unfinished(self) -> Iterator[Path]:
        yield from self.downloads.glob(".*~")
        yield from (self.home / _LICENCES).glob(".*.txt~")
        written = (self.images / _FILE, self.images / MANIFEST_NAME, self.home / _FACTS)
        yield from (one for path in written if (one := path.with_name(f".{path.name}~")).is_file())

    def _own_licences(self) -> Iterator[Path]:
        names = self._known()["packages"]
        return (path for path in self.licences() if path.stem in names)

    def _is_own_image(self) -> bool:
        path = self.images / _FILE
        if not path.is_file():
            return False
        is_linux = any(Digest("sha256", one).fits(path) for one in self._known()["sha256"])
        return is_linux or _content(path) == _placeholder()

    def _made(self) -> Iterator[Path]:
        """Yield what the demo has made, and nobody has changed since."""
        yield from (path for path in self.downloads.glob("*") if _DOWNLOAD.fullmatch(path.name))
        yield from self._own_licences()
        if self._is_own_image():
            yield self.images / _FILE
        if self._has_our_catalog:
            yield self.images / MANIFEST_NAME
        yield self.home / _FACTS


def _texts(values: object, key: str | None = None) -> set[str]:
    """Return the texts of a list of a document, or those that its objects have by a key."""
    every = values if isinstance(values, list) else []
    chosen = every if key is None else [one.get(key) for one in every if isinstance(one, dict)]
    return {one for one in chosen if isinstance(one, str)}


def _catalog_of(name: str, description: str) -> bytes:
    entry = {"id": IMAGE_ID, "file": _FILE, "name": name, "description": description}
    return json.dumps({"images": [entry]}, indent=2).encode() + b"\n"


_LINUX = _catalog_of("Linux", "Debian's kernel and BusyBox, as small as they can be; boot it in the page.")
_NUMBERED = _catalog_of("Numbered sectors", "Each sector begins with its number. Linux could not be fetched.")


def _placeholder() -> bytes:
    sectors = (b"%d\n" % number for number in range((_PLACEHOLDER_MIB << 20) // _SECTOR))
    return b"".join(one.ljust(_SECTOR - 2, b".") + b"\x55\xaa" for one in sectors)


def _content(path: Path) -> bytes | None:
    """Return the content of a file of at most the placeholder's length."""
    try:
        return read_bounded(path, _PLACEHOLDER_MIB << 20)
    except OSError:
        return None


def builders() -> str:
    """The SHA-256 of the modules that make the image."""
    here = Path(__file__).parent
    parts = [(here / name).read_bytes() for name in _BUILDERS]
    return hashlib.sha256(b"\0".join([*parts, bytes([image.can_make_root()])])).hexdigest()


def prepare(site: DemoSite, origins: emulator.Origins, say: Say, *, anew: bool = False) -> None:
    """Bring what is missing. Raises OperatorError with what cannot be had, and OSError."""
    site.clean()
    if anew or present(site.emulator) is None:
        say("Fetching the emulator: v86 (BSD-2-Clause) and SeaBIOS (LGPL-3.0) …")
        site.put_emulator(emulator.fetch(origins))
    if anew or not site.is_current:
        say("Fetching Linux: a kernel (GPL-2.0), BusyBox (GPL-2.0) and ISOLINUX (GPL-2.0-or-later) of Debian …")
        contents = fetch_contents(origins.mirror)
        say("Building the image …")
        site.build_image(contents)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with Directory.opened(path.parent) as directory:
        Replaceable(directory, path.name).replace(data)
