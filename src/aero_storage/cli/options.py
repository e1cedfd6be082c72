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
    """The images root that commands work on, found as the daemon finds it: flag, variable, configuration, default."""

    output: Output
    given_root: str | None = None

    def _settings(self) -> settings.Settings:
        given = {} if self.given_root is None else {"images_root": [self.given_root]}
        return settings.resolve(given, os.environ, Path.cwd()).settings

    @property
    def root(self) -> Path:
        """The images root. Raises OperatorError if there is no such directory."""
        root = self._settings().images_root
        if not root.is_dir():
            raise OperatorError(f"{root} is no directory; name the images root with --images-root DIR")
        return root

    def make_root(self) -> Path:
        """The images root, made if it is missing."""
        self._settings().images_root.mkdir(parents=True, exist_ok=True)
        return self.root

    @property
    def listing(self) -> bool:
        """Whether the daemon serves a directory listing where there is no catalog."""
        return not self._settings().require_manifest

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


def _take_root(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.find_object(CommandContext).given_root = value  # type: ignore[union-attr]


def _take_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    if value:
        context.find_object(CommandContext).output.as_json = True  # type: ignore[union-attr]


def with_root(command: _F) -> _F:
    """Add `--images-root`."""
    return click.option(
        "--images-root",
        metavar="DIR",
        expose_value=False,
        callback=_take_root,
        help="The images root; else AERO_STORAGE_IMAGE_ROOT or the file AERO_STORAGE_CONFIG says, else ./images.",
    )(command)


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
