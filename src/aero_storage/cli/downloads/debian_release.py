"""The release of a mirror of Debian: its signatures, its suite, its time and its digests."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"
_GPGV_SECONDS = 60
_FATAL = frozenset({"BADSIG", "ERROR", "FAILURE", "NODATA"})
_VERDICTS = frozenset({"GOODSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "ERRSIG", "BADSIG"})
_WEAK_HASHES = frozenset({"1", "2", "3"})
"""MD5, SHA-1 and RIPEMD-160 (RFC 9580, section 9.5)."""

_SHA256_LINE = re.compile(r" ([0-9a-f]{64}) +([0-9]+) (\S+)")
_FIELD = re.compile(r"^([A-Za-z0-9-]+):[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)


def signed_text(release: bytes, url: str, keyring: Path = KEYRING) -> str:
    """Return the signed text of a release. Raises OperatorError if it is not signed by Debian, or nobody can tell."""
    gpgv = shutil.which("gpgv")
    if gpgv is None or not keyring.exists():
        raise OperatorError(
            f"{url} comes by plain http, and who signed it cannot be told here; name a mirror by https "
            "(--mirror URL), or install gpgv and debian-archive-keyring"
        )
    with tempfile.TemporaryDirectory(prefix="aero-release-") as place:
        signed, text = Path(place) / "InRelease", Path(place) / "Release"
        signed.write_bytes(release)
        command = [gpgv, "--quiet", "--status-fd", "1", "--keyring", str(keyring), "--output", str(text), str(signed)]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=_GPGV_SECONDS)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise OperatorError(f"{url}: gpgv took longer than {_GPGV_SECONDS} seconds over its signature") from error
        is_good = _is_one_message(release) and is_well_signed(done.stdout.decode("utf-8", "replace"))
        if not is_good or not text.exists():
            raise OperatorError(f"{url} has no good signature of Debian; name a mirror by https (--mirror URL)")
        return text.read_bytes().decode("utf-8", "replace")


def _is_one_message(release: bytes) -> bool:
    return release.startswith(_BEGIN) and release.count(b"\n" + _BEGIN) == 0


def is_well_signed(status: str) -> bool:
    """Judge the status lines of gpgv: a signature is good, and none is bad; ones of unknown keys say nothing.

    gpgv itself fails if any key is unknown, as keys of the next release are to an older keyring.
    """
    verdict, is_good = "", False
    for keyword, words in _status_lines(status):
        if keyword in _FATAL:
            return False
        if keyword in _VERDICTS:
            verdict = keyword
        elif keyword == "VALIDSIG":  # it follows the verdict on the same signature
            is_good |= verdict == "GOODSIG" and len(words) > 7 and words[7] not in _WEAK_HASHES  # noqa: PLR2004
    return is_good


def _status_lines(status: str) -> Iterator[tuple[str, list[str]]]:
    # At line feeds and spaces alone, which gpgv escapes in what the signer may choose; not at others of Unicode.
    for line in status.split("\n"):
        mark, _, rest = line.partition(" ")
        if mark == "[GNUPG:]":
            keyword, *words = rest.split(" ")
            yield keyword, words


def check_suite(release: str, suite: str, url: str) -> None:
    """Raise OperatorError unless a release is that of a suite, by its codename or its name."""
    fields = _fields(release)
    if suite not in (fields.get("codename"), fields.get("suite")):
        named = printable(fields.get("codename") or fields.get("suite") or "no suite")
        raise OperatorError(f"{url} is the release of {named}, not of {suite}; name another mirror (--mirror URL)")


def check_validity(release: str, now: float, url: str) -> None:
    """Raise OperatorError if the time is over until which a release is valid; some have no such time."""
    text = _fields(release).get("valid-until")
    if text is None:
        return
    try:
        ends = parsedate_to_datetime(text).timestamp()
    except ValueError:
        ends = 0.0
    if ends < now:
        raise OperatorError(
            f"{url} was valid until {printable(text)}: the mirror is not kept up, somebody on the way passes an old "
            "one on, or the clock of this machine is wrong; name a mirror by https (--mirror URL)"
        )


def _fields(release: str) -> dict[str, str]:
    return {name.lower(): value for name, value in _FIELD.findall(release)}


def digest_in(release: str, path: str) -> str | None:
    """Return the SHA-256 of a file of a release."""
    lines = release.partition("\nSHA256:\n")[2].splitlines()
    found = (_SHA256_LINE.fullmatch(line) for line in lines)
    return next((line[1] for line in found if line is not None and line[3] == path), None)
