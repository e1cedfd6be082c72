"""A daemon that asks for leases, its keys, and a search for tokens and secrets in all that it says."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
from tests.blackbox.harness import running
from tests.blackbox.worker_processes import children_of

from torture.image_content import Content
from torture.leases.issuer import IMAGE, KEYS, Key, b64, key_set, put
from torture.outcome import MIB
from torture.trial import Trial

PRIVATE = f"/v1/images/{IMAGE}"
_CATALOG = [
    {"id": IMAGE, "file": "disk", "name": "Private", "public": False},
    {"id": "open", "file": "disk", "name": "Public"},
]
_RUN = re.compile(rb"[A-Za-z0-9_-]{20,}")
_PREFIX = 16
"""Characters by which a part of a token is known; fewer may be alike by chance."""
_WRITTEN = 1_600_000_000


@attrs.define(eq=False)
class LeasedTrial(Trial):
    """A trial whose image `disk` is private; `open` is the same and public."""

    keys_file: Path = attrs.field(kw_only=True)
    revocations_file: Path = attrs.field(kw_only=True)
    _sent: set[bytes] = attrs.field(init=False, factory=set)
    """Beginnings of the parts of tokens that were sent."""

    def set_keys(self, keys: Iterable[Key]) -> None:
        """Put other keys in place."""
        put(self.keys_file, key_set(keys))

    def revoke(self, *lines: Mapping[str, object]) -> None:
        """Put these revocations in place."""
        put(self.revocations_file, b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    @property
    def version(self) -> str:
        """The version of the image."""
        return str(self.daemon.ask("/v1/images/open/meta").json()["version"])

    def note(self, token: str) -> None:
        """Remember a token that is sent, so that it is looked for afterwards."""
        text = token.encode("utf-8", "surrogatepass")
        self._sent.update(match[0][:_PREFIX] for match in _RUN.finditer(text) if text.isascii())

    def check_secrets(self, *texts: bytes) -> None:
        """Complain if logs, outputs, metrics, these texts or lists of processes have part of a token, or a secret."""
        for path in sorted(self.daemon.home.iterdir()):
            if path.is_file() and path.name.startswith(("log", "stdout", "stderr")):
                with path.open("rb") as file:
                    self._check_lines(path.name, file)
        self._check_lines("metrics", self.daemon.ask("/metrics").body.splitlines())
        self._check_lines("answers", texts)
        for pid in [self.daemon.process.pid, *children_of(self.daemon.process.pid)]:
            lines = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ", "comm")]
            self._check_lines(f"list of processes, {pid}", lines)

    def _check_lines(self, where: str, lines: Iterable[bytes]) -> None:
        for line in lines:
            found = self.secret_in(line)
            self.check(not found, f"{where}: has {found!r}: {line[:300]!r}")

    def secret_in(self, line: bytes) -> bytes:
        """Return what should not be in a line; nothing if all is well."""
        for secret in _SECRETS:
            if secret in line:
                return secret
        runs = (match[0] for match in _RUN.finditer(line))
        return next((run for run in runs if run[:_PREFIX] in self._sent or run.startswith(b"eyJ")), b"")


def _secrets() -> Iterator[bytes]:
    for key in KEYS:
        yield key.secret
        yield b64(key.secret).encode()
        yield key.secret.hex().encode()


_SECRETS = tuple(_secrets())


@contextmanager
def leased_trial(
    *flags: str, keys: Iterable[Key] = KEYS, size: int = 24 * MIB, env: Mapping[str, str] | None = None
) -> Iterator[LeasedTrial]:
    """Run a daemon that asks for leases."""
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name:
        home, content = Path(name), Content(size)
        root, keys_file, revocations_file = home / "images", home / "keys.json", home / "revoked.jsonl"
        root.mkdir()
        content.write(root / "disk")
        os.utime(root / "disk", (_WRITTEN, _WRITTEN))
        (root / "manifest.json").write_text(json.dumps(_CATALOG), encoding="ascii")
        put(keys_file, key_set(keys))
        put(revocations_file, b"")
        files = (f"--lease-keys-file={keys_file}", f"--lease-revocations-file={revocations_file}")
        with running(home, "--shutdown-grace-secs=1", *files, *flags, env=env, metrics_at_once=False) as daemon:
            assert daemon.ask("/v1/images/open", fields={"Range": "bytes=0-0"}).status == 206
            assert daemon.ask(PRIVATE, fields={"Range": "bytes=0-0"}).status == 401
            yield LeasedTrial(daemon, content, keys_file=keys_file, revocations_file=revocations_file)
