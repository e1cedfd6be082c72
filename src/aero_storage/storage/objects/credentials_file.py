"""The shared credentials file of AWS: read again whenever it changes, so that a daemon that runs gets new keys.

The client of object stores does not read this file. Web identities and the credentials of containers it renews by
itself. Keys in variables are fixed for a process.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

import attrs

from aero_storage.errors import SettingsError

FILE, PROFILE = "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE"
_DEFAULT = "default"
_MOST_BYTES = 1024 * 1024


@attrs.frozen(repr=False)
class Credentials:
    """A key of S3; `session_token` where it lasts for a while only."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    @property
    def variables(self) -> dict[str, str]:
        """Return what is set, by the names that the client of object stores has for it."""
        named = {
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "session_token": self.session_token,
        }
        return {name: value for name, value in named.items() if value is not None}


@attrs.define(eq=False)
class CredentialsFile:
    """One profile of a credentials file. Its methods wait for a disk; threads may call them at once."""

    _path: Path
    _profile: str
    _seen: tuple[int, ...] = attrs.field(init=False, default=())
    """State of the file when it was read last."""
    _last: Credentials | None = attrs.field(init=False, default=None, repr=False)
    _lock: Lock = attrs.field(init=False, factory=Lock, repr=False)

    @classmethod
    def of(cls, scheme: str, environ: Mapping[str, str]) -> CredentialsFile | None:
        """Return the file that the variables name, unless a key stands in them, which comes first."""
        path = environ.get(FILE)
        if scheme != "s3" or not path or environ.get("AWS_ACCESS_KEY_ID"):
            return None
        return cls(Path(path), environ.get(PROFILE) or _DEFAULT)

    def require(self) -> None:
        """Raise SettingsError unless there is a key; its line has nothing of the file in it."""
        if self.current() is None:
            raise SettingsError(
                f"variable {FILE}: the file (not shown) has no aws_access_key_id and aws_secret_access_key"
                f" in the profile that {PROFILE} names ({_DEFAULT!r} if that is unset), or cannot be read"
            )

    def current(self) -> Credentials | None:
        """Return the key in the file; the last good one if it is gone or half-written, None if there was none."""
        with self._lock:
            try:
                seen = _signature(self._path.stat())
                if seen != self._seen:
                    self._last = _parsed(self._path, self._profile) or self._last
                    self._seen = seen
            except (OSError, ValueError, configparser.Error):
                self._seen = ()
            return self._last


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _parsed(path: Path, profile: str) -> Credentials | None:
    parser = configparser.RawConfigParser(default_section="", strict=False)
    with path.open(encoding="utf-8") as file:
        parser.read_string(file.read(_MOST_BYTES))
    if not parser.has_section(profile):
        return None
    section = parser[profile]
    key, secret = section.get("aws_access_key_id"), section.get("aws_secret_access_key")
    return Credentials(key, secret, section.get("aws_session_token") or None) if key and secret else None
