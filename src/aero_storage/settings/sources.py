"""The sources of settings: flags, variables, the configuration file, the token file."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from aero_storage.errors import SettingsError
from aero_storage.settings.original_variables import WHITE_SPACE, find_variable, warnings_of
from aero_storage.settings.rows import CONFIG, Setting
from aero_storage.settings.table import Settings, table
from aero_storage.settings.values import NONE, UnfitError

_MAX_CONFIG_FILE_BYTES = 1 << 20
_MAX_TOKEN_FILE_BYTES = 4096
_MAX_SHOWN = 80
_LEAST_BLOCKS = 16
_DEFAULT = "default"
_TOML_TYPES: dict[str, tuple[type, ...]] = {  # exact types: a bool is an int to Python, not to TOML
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array of strings": (str,),
}


@attrs.frozen
class Resolved:
    """The settings, and for each of them the origin of its value."""

    settings: Settings
    origins: Mapping[str, str]
    config_file: Path | None
    warnings: tuple[str, ...] = ()
    """One sentence for each value that a variable of the original server gives."""

    def is_default(self, name: str) -> bool:
        """Return whether no source names the setting."""
        return self.origins[name] == _DEFAULT


def resolve(
    given: Mapping[str, Sequence[str]],
    environ: Mapping[str, str],
    cwd: Path,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> Resolved:
    """Resolve every setting by flag, variable, configuration file, default, in this order.

    `given` maps a setting's name, or `config`, to the texts of its flags; relative paths start at `cwd`; `defaults`
    replace those of the table. Raises SettingsError, even for an invalid value that a stronger source overrides: it
    would fail later.
    """
    config, document = _configuration(given, environ, cwd)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for row in table():
        claims = [*_claims(row, given, environ), *_file_claim(row, document, f"{config}, key {row.key}")]
        read = [
            (_value(row, texts, origin, cwd), origin) for texts, origin in (*claims, _default_claim(row, defaults))
        ]
        values[row.name], origins[row.name] = read[0]
    _take_token(values, origins)
    _check_cache(values, origins)
    taken = [row.variable for row in table() if not origins[row.name].startswith("flag ")]
    return Resolved(Settings(**values), MappingProxyType(origins), config, warnings_of(environ, taken))


def _configuration(
    given: Mapping[str, Sequence[str]], environ: Mapping[str, str], cwd: Path
) -> tuple[Path | None, dict[str, object]]:
    """Find and read the configuration file, if one is named."""
    for texts, origin in _claims(CONFIG, given, environ):
        path = Path(cwd, str(_value(CONFIG, texts, origin, cwd)))
        return path, _document(path, f"{path}, named by {origin}")
    return None, {}


def _document(path: Path, origin: str) -> dict[str, object]:
    content = _content(path, origin, _MAX_CONFIG_FILE_BYTES)
    # "from None": the causes contain the file's text, and that may contain the token.
    try:
        document = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _error(origin, f"not UTF-8 (at line {line}); TOML has to be") from None
    except (ValueError, RecursionError) as error:
        raise _error(origin, f"not TOML: {error}") from None
    _refuse_unknown(path, document)
    return document


def _content(path: Path, origin: str, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that the file system's encoding lacks
        raise _error(origin, f"cannot be read: {getattr(error, 'strerror', error)}") from None
    if len(content) > limit:
        raise _error(origin, f"longer than {limit} bytes, the most that are read")
    return content


def _refuse_unknown(path: Path, document: Mapping[str, object]) -> None:
    known = [row.key for row in table()]
    for key in document:
        if key not in known:
            close = difflib.get_close_matches(key, known) or difflib.get_close_matches(key, known, 1, 0)
            raise _error(f"{path}, key {_shown(key)}", f"no such setting; the closest is {' or '.join(close)}")


# A claim is the value of one setting in one source: its texts and its origin.
def _claims(
    row: Setting, given: Mapping[str, Sequence[str]], environ: Mapping[str, str]
) -> Iterator[tuple[Sequence[str], str]]:
    """Yield the claims of the flags and of the variable, if they are given."""
    if texts := given.get(row.name):
        yield texts, f"flag {row.twin if row.is_boolean and texts[-1] == 'false' else row.flag}"
    if found := find_variable(environ, row.variable):
        yield [found.value], f"variable {found.name}"


def _file_claim(row: Setting, document: Mapping[str, object], origin: str) -> Iterator[tuple[Sequence[str], str]]:
    """Yield the claim of the file, as texts, so that one parser reads every source."""
    if row.key in document:
        value = document[row.key]
        items = value if row.is_list and isinstance(value, list) else [value]
        if not all(_has_toml_type(row, item) for item in items):
            raise _error(origin, f"{_shown(value, row)} is not a TOML {row.kind}")
        # Decimal writes a float without an exponent, an integer of any length, and a bool as 1 or 0.
        yield [format(Decimal(i), "f") if isinstance(i, int | float) else str(i) for i in items], origin


def _has_toml_type(row: Setting, item: object) -> bool:
    return type(item) in _TOML_TYPES[row.kind] or (row.may_be_none and str(item).lower() == NONE)


def _default_claim(row: Setting, defaults: Mapping[str, str]) -> tuple[Sequence[str], str]:
    text = defaults.get(row.name, row.default)
    return [text] if text else [], _DEFAULT


def _value(row: Setting, texts: Sequence[str], origin: str, cwd: Path) -> object:
    """Parse the texts of one source; a list has the items of all texts, any other setting the value of the last."""
    items = [text.strip(WHITE_SPACE) for text in (",".join(texts).split(",") if row.is_list else texts)]
    values = [_parsed(row, item, origin, cwd) for item in items if item or not row.is_list]
    if row.is_list:
        if texts and not values:  # an empty allowlist must not allow everything
            raise _error(
                origin, f"{_shown(','.join(texts), row)} holds no value at all; leave the setting out instead"
            )
        return tuple(values)
    return values[-1] if values else None


def _parsed(row: Setting, text: str, origin: str, cwd: Path) -> object:
    try:
        value = row.parse(text)
    except UnfitError as error:
        raise _error(origin, f"{_shown(error.shown or text, row)} is not {error}") from None
    return Path(cwd, value) if isinstance(value, Path) else value


def _take_token(values: dict[str, Any], origins: dict[str, str]) -> None:
    """Set the token to the content of the token file, if one is named."""
    path, origin = values["metrics_auth_token_file"], origins["metrics_auth_token_file"]
    if path is None:
        return
    if values["metrics_auth_token"] is not None:
        both = f"{origins['metrics_auth_token']} and {origin}"
        raise _error(both, "a token and a file for it exclude each other; give one of them")
    origins["metrics_auth_token"] = origin = f"{path}, named by {origin}"
    text = _content(path, origin, _MAX_TOKEN_FILE_BYTES).decode("latin-1")
    row = next(row for row in table() if row.name == "metrics_auth_token")
    values["metrics_auth_token"] = _value(row, [text], origin, Path())


def _check_cache(values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    """Refuse a cache that is smaller than the blocks that one stream reads ahead."""
    limit, least = values["cache_max_bytes"], _LEAST_BLOCKS * values["cache_block_bytes"]
    if limit < least:
        raise _error(origins["cache_max_bytes"], f"{limit} is less than {_LEAST_BLOCKS} blocks of the cache, {least}")


def _error(origin: str, fault: str) -> SettingsError:
    return SettingsError(one_line(f"{origin}: {fault}"))


def _shown(value: object, row: Setting | None = None) -> str:
    if row is not None and row.is_secret:
        return "the value (not shown)"
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits; TOML can, in hexadecimal
        text = "a huge number"
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def one_line(text: str) -> str:
    """Escape control characters: a path may contain a line feed."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
