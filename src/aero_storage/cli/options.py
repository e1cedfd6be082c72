"""What the commands have in common: where the images lie, how to answer, how sizes and ids are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from aero_storage import settings
from aero_storage.catalog.model import Catalog, Image
from aero_storage.catalog.reader import has_manifest, list_directory, load_manifest
from aero_storage.cli.output import Output
from aero_storage.cli.sizes import parse_size
from aero_storage.errors import OperatorError
from aero_storage.http.identifiers import NAME_RULE, is_image_id

_F = TypeVar("_F", bound=Callable[..., Any])


@attrs.define
class CommandContext:
    """What commands know of the daemon: its settings, found as it finds them: flag, variable, file, default."""

    output: Output
    given: dict[str, list[str]] = attrs.field(factory=dict)
    """The texts of the flags that were given, by the names of their settings."""

    @property
    def resolved(self) -> settings.Resolved:
        """All settings, and where each came from. Raises SettingsError."""
        return settings.resolve(self.given, os.environ, Path.cwd())

    @property
    def settings(self) -> settings.Settings:
        """All settings. Raises SettingsError."""
        return self.resolved.settings

    @property
    def root(self) -> Path:
        """The images root. Raises OperatorError if there is no such directory."""
        root = self.settings.images_root
        if not root.is_dir():
            raise OperatorError(f"{root} is no directory; name the images root with --images-root DIR")
        return root

    def make_root(self) -> Path:
        """The images root, made if it is missing."""
        self.settings.images_root.mkdir(parents=True, exist_ok=True)
        return self.root

    @property
    def listing(self) -> bool:
        """Whether the daemon serves a directory listing where there is no catalog."""
        return not self.settings.require_manifest

    def catalog(self) -> Catalog:
        """The catalog that the daemon would read now. Raises CatalogError."""
        root = self.root
        if has_manifest(root):
            return load_manifest(root)[0]
        return list_directory(root) if self.listing else Catalog(())

    def image(self, image_id: str) -> Image:
        """The image of that id. Raises OperatorError if there is none."""
        image = self.catalog().find(image_id)
        if image is None:
            raise OperatorError(f"there is no image {image_id!r} in {self.root}; see: aero-storage list")
        return image


def _take_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    if value:
        context.find_object(CommandContext).output.as_json = True  # type: ignore[union-attr]


def _setting_flag(row: settings.Setting, meaning: str) -> Callable[[_F], _F]:
    """A flag of the same name as the daemon's, for a setting that the daemon was given as a flag."""

    def take(context: click.Context, _parameter: click.Parameter, value: object) -> None:
        if value is not None:
            text = str(value).lower() if row.is_boolean else str(value)
            context.find_object(CommandContext).given[row.name] = [text]  # type: ignore[union-attr]

    names = f"{row.flag}/{row.twin}" if row.twin else row.flag
    return click.option(
        names, metavar=row.metavar or None, default=None, expose_value=False, callback=take, help=meaning
    )


def with_settings(*names: str) -> Callable[[_F], _F]:
    """Add the daemon's flags for these settings, which a command goes by."""
    rows = {row.name: row for row in settings.table()}

    def decorate(command: _F) -> _F:
        for name in reversed(names):
            command = _setting_flag(rows[name], f"As given to the daemon: {rows[name].help}")(command)
        return command

    return decorate


def with_root(command: _F) -> _F:
    """Add the flags that say which catalog is meant."""
    root = next(row for row in settings.table() if row.name == "images_root")
    command = _setting_flag(settings.CONFIG, "Read the daemon's settings from this TOML file too.")(command)
    command = with_settings("require_manifest")(command)
    meaning = (
        f"The images root; else {root.variable} or the file {settings.CONFIG.variable} says, else {root.default}."
    )
    return _setting_flag(root, meaning)(command)


def with_json(command: _F) -> _F:
    """Add `--json`; taken first, so that other mistakes are told in JSON too."""
    return click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_take_json,
        help="Print the result as one JSON document.",
    )(command)


def cores() -> int:
    """How many threads to put to work: one for each core that we may use, within reason."""
    return min(32, len(os.sched_getaffinity(0)))


class SizeType(click.ParamType[int]):
    """A size in bytes as people write it."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a size; a default is a number already."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}", param, ctx)


class ImageIdType(click.ParamType[str]):
    """An image id (http.md §1)."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check an id."""
        text = str(value)
        if not is_image_id(text):
            self.fail(f"{text!r} is no image id: it {NAME_RULE}", param, ctx)
        return text
