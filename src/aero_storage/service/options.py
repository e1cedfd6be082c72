"""The command line of `twistd aero-storage`, made from the table of settings."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn, cast

from twisted.python.logfile import LogFile
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from aero_storage import settings
from aero_storage.errors import SettingsError
from aero_storage.logs.json_log import DescriptorSink, JsonLines, LineLog, TwistedLog
from aero_storage.logs.sink import Sink
from aero_storage.service.lease_documents import read_lease_documents
from aero_storage.settings import Resolved, Setting
from aero_storage.settings.original_variables import BUILD_VARIABLES, warnings_of
from aero_storage.storage.objects.block_cache.cache_directory import DirectoryClaim, claim_directory
from aero_storage.storage.objects.opening import open_origin

PROGRAM = "twistd aero-storage"

_STDOUT = 1
_OF_LEASES = (
    *("lease_revocations_file", "lease_audience", "lease_max_lifetime_secs", "lease_leeway_secs"),
    *("lease_stream_grace_secs", "lease_failures_per_sec"),
    *("max_streams_per_lease", "max_bytes_per_second_per_lease"),
)
"""The settings that do nothing while leases are off."""
_ROTATE_BYTES = 100 * 1024 * 1024
_ROTATED_FILES = 10


def refuse(error: object) -> NoReturn:
    """End the process with one line on standard error and status 1."""
    raise SystemExit(f"aero-storage: {error}")


class Options(UsageOptions):
    """Records the given flags, and resolves them with variables, file and defaults once all are known.

    Afterwards `resolved` holds the settings, and `log` is the daemon's log.
    """

    environ: Mapping[str, str] = os.environ
    other_defaults: Mapping[str, str] = MappingProxyType({})
    """Defaults of settings, in place of those of the table."""
    resolved: Resolved
    log: LineLog

    def __init__(self) -> None:
        self.given: dict[str, list[str]] = {}
        self._check_only = False
        super().__init__()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the flags; a usage error ends the process with one line instead of a page of help."""
        try:
            super().parseOptions(options)
        except UsageError as error:
            refuse(f"command line: {error}; see {PROGRAM} --help")

    def postOptions(self) -> None:
        """Resolve the settings, and choose the log."""
        try:
            self.settle()
        except SettingsError as error:
            refuse(error)

    def settle(self) -> None:
        """Resolve the settings, and choose the log. Raises SettingsError."""
        self.resolved = settings.resolve(self.given, self.environ, Path.cwd(), self.other_defaults)
        if self._check_only:
            read_lease_documents(self.resolved.settings, self.resolved.origins)
        build = warnings_of(self.environ, BUILD_VARIABLES)
        warnings = (*self.resolved.warnings, *build, *without_effect(self.resolved))
        if self._check_only:
            for warning in warnings:
                print(f"aero-storage: {warning}", file=sys.stderr)  # noqa: T201
            print(settings.describe(self.resolved))  # noqa: T201 - the purpose of the flag
            raise SystemExit(0)
        self.log = self._choose_log()
        for warning in warnings:
            self.log.event("warn", warning)

    def parseArgs(self, *stray: str) -> None:
        """Refuse positional arguments."""
        if stray:
            raise UsageError(f"{stray[0]!r} is no flag")

    def opt_config(self, path: str) -> None:
        """Read settings from this TOML file."""
        self.given.setdefault("config", []).append(path)

    def opt_check_config(self) -> None:
        """Print every setting with its value and where it came from, and exit."""
        self._check_only = True

    def opt_help(self) -> NoReturn:
        """Explain every setting, and exit."""
        print(settings.usage(PROGRAM))  # noqa: T201
        raise SystemExit(0)

    def opt_version(self) -> NoReturn:
        """Print the version, and exit."""
        print(f"aero-storage {version('aero-storage')}")  # noqa: T201
        raise SystemExit(0)

    def _choose_log(self) -> LineLog:
        """Return a JSON log to `twistd`'s destination, or TwistedLog with an operator's observer or syslog."""
        level = self.resolved.settings.log_level
        parent = {"nodaemon": True} if self.parent is None else self.parent
        if parent.get("logger") is not None or parent.get("syslog"):
            return TwistedLog()
        return _log_like(parent, level)


def without_effect(resolved: Resolved) -> Iterator[str]:
    """Yield a warning of a setting that was given and does nothing with this images root.

    It is no error: an operator may serve a directory for a time, and leave the cache configured.
    """
    given = resolved.settings
    if given.cache_dir is not None and not isinstance(given.images_root, settings.OriginUrl):
        yield (
            f"{resolved.origins['cache_dir']}: cache_dir has no effect: {given.images_root} is a directory, "
            "and only objects of a bucket are cached"
        )
    if given.lease_keys_file is None:
        for name in _OF_LEASES:
            if not resolved.is_default(name):
                yield f"{resolved.origins[name]}: {name} has no effect: leases are off without lease_keys_file"


def _log_like(twistd: Mapping[str, object], level: str) -> JsonLines:
    """Return a log to `twistd --logfile`: by default standard output, or `twistd.log` in the background.

    A file is rotated at 100 MiB and on SIGUSR1; ten old ones are kept.
    """
    name, foreground = str(twistd.get("logfile") or ""), bool(twistd.get("nodaemon") or twistd.get("debug"))
    if foreground and name in ("", "-"):
        return JsonLines(DescriptorSink(_STDOUT), level)
    if name == "-":
        refuse("twistd --logfile=-: a daemon in the background has no standard output; add --nodaemon")
    try:
        file = LogFile.fromFullPath(
            str(Path(name or "twistd.log").absolute()), rotateLength=_ROTATE_BYTES, maxRotatedFiles=_ROTATED_FILES
        )
    except OSError as error:
        refuse(f"twistd --logfile={name}: {error.strerror}")
    log = JsonLines(cast("Sink", file), level)
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda _number, _frame: log.before_next_write(file.rotate))
    return log


def prepare_images_root(resolved: Resolved, environ: Mapping[str, str]) -> DirectoryClaim | None:
    """Check the images root, and take its cache directory, if it has one; return the right to that.

    Raises SettingsError with one line if it cannot be read, or be created.

    Only the default is created: one that was named and is missing is a mistake in its name, or a disk that is not
    mounted.
    """
    root, where = resolved.settings.images_root, resolved.origins["images_root"]
    if isinstance(root, settings.OriginUrl):
        return _prepare_bucket(root, resolved.settings, where, environ)
    try:
        if resolved.is_default("images_root"):
            root.mkdir(parents=True, exist_ok=True)
        with os.scandir(root) as entries:
            next(entries, None)
    except OSError as error:
        raise SettingsError(f"{where}: {root} cannot be used as images root: {error.strerror}") from error
    return None


def _prepare_bucket(
    url: settings.OriginUrl, given: settings.Settings, where: str, environ: Mapping[str, str]
) -> DirectoryClaim | None:
    """Check that the bucket could be asked; whether it answers is found out later: a start does not hang on it."""
    try:
        open_origin(url, environ, given.origin_timeout_secs)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from error
    return None if given.cache_dir is None else claim_directory(given.cache_dir)


def _recorder(row: Setting, text: str | None) -> Callable[..., None]:
    """Return a method for `usage.Options`: with an argument for a value, without one for a switch (value `text`)."""

    def switch(self: Options) -> None:
        self.given.setdefault(row.name, []).append(text or "")

    def value(self: Options, given: str) -> None:
        if given.startswith("--"):
            raise UsageError(f"{row.flag} needs a value, but {given} follows it")
        self.given.setdefault(row.name, []).append(given)

    method = value if text is None else switch
    method.__doc__ = row.help
    return method


for _row in settings.table():
    if _row.is_boolean:
        setattr(Options, f"opt_{_row.name}", _recorder(_row, "true"))
        setattr(Options, f"opt_no_{_row.name}", _recorder(_row, "false"))
    else:
        setattr(Options, f"opt_{_row.name}", _recorder(_row, None))
