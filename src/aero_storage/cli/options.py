"""Common options of the commands: the images root, JSON output, parameter types for sizes and ids."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from aero_storage import settings
from aero_storage.atomic_files import LOCK_TIMEOUT, Waiting
from aero_storage.catalog.draft import Draft
from aero_storage.catalog.model import Catalog, Image
from aero_storage.catalog.reader import load_manifest
from aero_storage.cli.buckets.repository import BucketRepository
from aero_storage.cli.buckets.wait_notices import WaitNotices
from aero_storage.cli.directory_repository import DirectoryRepository
from aero_storage.cli.interruption import WHEN_INTERRUPTED
from aero_storage.cli.output import Output
from aero_storage.cli.repository import Repository
from aero_storage.cli.setting_flags import setting_flag, with_settings
from aero_storage.errors import OperatorError
from aero_storage.http.digests import is_sha256
from aero_storage.http.identifiers import NAME_RULE, is_image_id
from aero_storage.settings.origin_url import OriginUrl
from aero_storage.settings.sources import Resolved
from aero_storage.sizes import parse_size, parse_span
from aero_storage.storage.objects.opening import open_origin

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")


@attrs.define
class CommandContext:
    """Output and settings of a command; the settings are those of the daemon: flag, variable, file, default."""

    output: Output
    given: dict[str, list[str]] = attrs.field(factory=dict)
    """The texts of the flags on the command line, by the names of their settings."""
    lock_timeout: float = LOCK_TIMEOUT
    """Seconds to wait for another command that changes the catalog."""
    single_writer: bool = False
    """Whether nobody else writes, so that an object store needs no conditional writes."""
    when_interrupted: str = WHEN_INTERRUPTED
    """The state that the command tells of when it is interrupted."""
    _opened: Repository | None = attrs.field(init=False, default=None)
    _warned: set[str] = attrs.field(init=False, factory=set)

    @property
    def resolved(self) -> settings.Resolved:
        """All settings, each with its origin; each warning is printed once. Raises SettingsError."""
        resolved = settings.resolve(self.given, os.environ, Path.cwd())
        for warning in sorted({*resolved.warnings} - self._warned):
            self.output.say(f"aero-storage: {warning}")
        self._warned.update(resolved.warnings)
        return resolved

    @property
    def settings(self) -> settings.Settings:
        """All settings. Raises SettingsError."""
        return self.resolved.settings

    @property
    def repository(self) -> Repository:
        """The images root. Raises OperatorError if there is none."""
        if self._opened is None:
            self._opened = self.repository_at(self.settings.images_root)
        return self._opened

    def repository_at(self, root: Path | OriginUrl) -> Repository:
        """Return an images root, of any kind. Raises OperatorError if there is no such directory."""
        if isinstance(root, OriginUrl):
            seconds = self.settings.origin_timeout_secs
            origin = open_origin(root, os.environ, seconds, waits=WaitNotices(self.output.say))
            return BucketRepository(origin, self.single_writer)
        if not root.is_dir():
            raise OperatorError(
                f"{root} is no directory; name the images root with --images-root DIR, or create it first"
            )
        return DirectoryRepository(root)

    def make_repository(self) -> Repository:
        """Return the images root; the default is created if it is missing, one that was named must exist."""
        resolved = self.resolved
        if self._is_missing_default(resolved):
            resolved.settings.image_directory.mkdir(parents=True, exist_ok=True)
        return self.repository

    def change_catalog(self, repository: Repository, change: Callable[[Draft], _T], *, listing: bool = True) -> _T:
        """Change the catalog; without `listing` a new one does not begin with the images of the listing."""
        return repository.change_catalog(change, listing=listing and self.listing, waiting=self.waiting)

    def repository_if_made(self) -> Repository | None:
        """Return the images root; None if it is the default, and missing. Raises OperatorError for a named one."""
        resolved = self.resolved
        return None if self._is_missing_default(resolved) else self.repository

    @staticmethod
    def _is_missing_default(resolved: Resolved) -> bool:
        return resolved.is_default("images_root") and not resolved.settings.image_directory.exists()

    @property
    def waiting(self) -> Waiting:
        """How to wait for another command that changes the catalog."""
        return Waiting(self.lock_timeout, self.output.say)

    @property
    def listing(self) -> bool:
        """Whether the daemon serves a directory listing if there is no catalog."""
        return not self.settings.require_manifest

    def catalog(self) -> Catalog:
        """Return the catalog that the daemon would read now. Raises CatalogError."""
        return self.catalog_of(self.repository)

    def catalog_of(self, repository: Repository) -> Catalog:
        """Return the catalog that a daemon would read of an images root now. Raises CatalogError."""
        documents = repository.documents
        if documents.has_manifest():
            return load_manifest(documents)[0]
        return documents.list_images() if self.listing else Catalog(())

    def image(self, image_id: str) -> Image:
        """Return the image with this id. Raises OperatorError if there is none."""
        image = self.catalog().find(image_id)
        if image is None:
            raise OperatorError(f"there is no image {image_id!r} in {self.repository.name}; see: aero-storage list")
        return image


def _take_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    if value:
        context.find_object(CommandContext).output.as_json = True  # type: ignore[union-attr]


def with_root(command: _F) -> _F:
    """Add the flags that the catalog depends on: `--images-root` and those of `with_config`."""
    root = next(row for row in settings.table() if row.name == "images_root")
    command = with_config(command)
    meaning = f"The images root; default: {root.variable}, the file {settings.CONFIG.variable}, or {root.default}."
    return setting_flag(root, meaning)(command)


def with_config(command: _F) -> _F:
    """Add `--require-manifest`, `--origin-timeout-secs` and `--config`, for commands that name the root otherwise."""
    command = setting_flag(settings.CONFIG, "Read the daemon's settings from this TOML file too.")(command)
    return with_settings("require_manifest", "origin_timeout_secs")(command)


def _take_lock_timeout(context: click.Context, _parameter: click.Parameter, value: float) -> None:
    context.find_object(CommandContext).lock_timeout = value  # type: ignore[union-attr]


def with_lock_timeout(command: _F) -> _F:
    """Add `--lock-timeout`, for commands that change the catalog."""
    return click.option(
        "--lock-timeout",
        type=click.FloatRange(0, 86400),
        default=LOCK_TIMEOUT,
        metavar="SECONDS",
        expose_value=False,
        callback=_take_lock_timeout,
        help=f"Wait so long for another command that changes the catalog; {LOCK_TIMEOUT:g} by default.",
    )(command)


def _take_single_writer(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001
    context.find_object(CommandContext).single_writer = value  # type: ignore[union-attr]


def with_single_writer(command: _F) -> _F:
    """Add `--single-writer`, for commands that write to an object store."""
    return click.option(
        "--single-writer",
        is_flag=True,
        expose_value=False,
        callback=_take_single_writer,
        help="Nobody else writes to the bucket meanwhile: take a store without conditional writes.",
    )(command)


def without_digest(command: _F) -> _F:
    """Add `--no-sha256`, the parameter `digested`, for commands that record the digest of an image."""
    return click.option(
        "--no-sha256",
        "digested",
        is_flag=True,
        flag_value=False,
        default=True,
        help="Do not record the image's SHA-256. It takes a second for each GB or two, holes included.",
    )(command)


def json_flag(meaning: str) -> Callable[[_F], _F]:
    """Return a decorator that adds `--json`; it is processed first, so that usage errors are printed as JSON too."""
    return click.option("--json", is_flag=True, is_eager=True, expose_value=False, callback=_take_json, help=meaning)


def with_json(command: _F) -> _F:
    """Add `--json` to a command that has one result."""
    return json_flag("Print the result as one JSON document.")(command)


def cores() -> int:
    """Return the number of threads to use: one for each core that this process may use, with an upper limit."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(32, number)


class SizeType(click.ParamType[int]):
    """A size in bytes, such as `4MiB`."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a size; a default is a number already."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}", param, ctx)


class SpanType(click.ParamType[float]):
    """A span of time, such as `24h`; it becomes seconds."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a span; a default is a number already."""
        if isinstance(value, float):
            return value
        try:
            return parse_span(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}", param, ctx)


class Sha256Type(click.ParamType[str]):
    """A SHA-256 digest of 64 hex digits; it becomes lower case."""

    name = "sha256"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check a digest."""
        text = str(value)
        if not is_sha256(text):
            self.fail(f"{text!r} is no SHA-256 digest of 64 hex digits", param, ctx)
        return text.lower()


class ImageIdType(click.ParamType[str]):
    """An image id (http.md §1)."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check an image id."""
        text = str(value)
        if not is_image_id(text):
            self.fail(f"{text!r} is no image id: it {NAME_RULE}", param, ctx)
        return text
