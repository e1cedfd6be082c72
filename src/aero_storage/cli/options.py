"""Common options of the commands: the images root, JSON output, parameter types for sizes and ids."""

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
    """Output and images root of a command; the root is that of the daemon: flag, variable, file, default."""

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
        """Return the images root; it is created if it is missing."""
        self._settings().images_root.mkdir(parents=True, exist_ok=True)
        return self.root

    @property
    def listing(self) -> bool:
        """Whether the daemon serves a directory listing if there is no catalog."""
        return not self._settings().require_manifest

    def catalog(self) -> Catalog:
        """Return the catalog that the daemon would read now. Raises CatalogError."""
        root = self.root
        if has_manifest(root):
            return load_manifest(root)[0]
        return list_directory(root) if self.listing else Catalog(())

    def image(self, image_id: str) -> Image:
        """Return the image with this id. Raises OperatorError if there is none."""
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
        help="The images root; default: AERO_STORAGE_IMAGE_ROOT, the file AERO_STORAGE_CONFIG, or ./images.",
    )(command)


def with_json(command: _F) -> _F:
    """Add `--json`; it is processed first, so that usage errors are printed as JSON too."""
    return click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_take_json,
        help="Print the result as one JSON document.",
    )(command)


def cores() -> int:
    """Return the number of threads to use: one for each core that this process may use, with an upper limit."""
    return min(32, len(os.sched_getaffinity(0)))


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


class ImageIdType(click.ParamType[str]):
    """An image id (http.md §1)."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check an image id."""
        text = str(value)
        if not is_image_id(text):
            self.fail(f"{text!r} is no image id: it {NAME_RULE}", param, ctx)
        return text
