"""The release of a mirror of Debian: who vouches for it, and whether it is the one that was asked for."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import define
from tests.cli.package_registries import SUITE, Registries

from aero_storage.cli.downloads.cache import Downloads
from aero_storage.cli.downloads.debian import Mirror
from aero_storage.cli.downloads.debian_release import check_suite, digest_in, is_well_signed, signed_text
from aero_storage.cli.sources.http_requests import is_trustworthy
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
HOST = "http://mirror.example"
RELEASE = f"/dists/{SUITE}/InRelease"


def test_digest_is_of_the_section_of_sha256() -> None:
    """Digests of other kinds and of other files do not count."""
    text = (
        f"MD5Sum:\n {'1' * 64} 1 a/Packages.xz\nSHA256:\n {'2' * 64} 1 b/Packages.xz\n {'3' * 64} 1 a/Packages.xz\n"
    )
    assert digest_in(text, "a/Packages.xz") == "3" * 64
    assert digest_in(text, "c/Packages.xz") is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://mirror.example/debian", True),
        ("http://127.0.0.1:8000", True),
        ("http://[::1]/", True),
        ("http://localhost/", True),
        ("http://mirror.example/debian", False),
        ("http://192.0.2.1/debian", False),
    ],
)
def test_who_may_change_what_comes(url: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """TLS and this machine are trusted; plain http is not, and neither is this machine through a proxy."""
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert is_trustworthy(url) is expected
    monkeypatch.setenv("http_proxy", "http://192.0.2.9:3128")
    assert is_trustworthy(url) is url.startswith("https")


def test_release_without_a_signature() -> None:
    """By plain http a release has to be signed by Debian: one that is not, or that nobody can check, is refused."""
    with pytest.raises(OperatorError, match=r"signature|install gpgv"):
        signed_text(b"Codename: bookworm\n", HOST)
    with pytest.raises(OperatorError, match="install gpgv"):
        signed_text(b"Codename: bookworm\n", HOST, Path("/nowhere/keyring.gpg"))


GOOD = "[GNUPG:] GOODSIG 41B70412EC614394 a\n[GNUPG:] VALIDSIG B4C6 2026-11-29 1795954237 0 4 0 22 {} 01 B4C6\n"
EXPIRED = GOOD.replace("GOODSIG", "EXPKEYSIG")
UNKNOWN = "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 030FDB11ADECE15D 22 8 01 1795954237 9 888\n[GNUPG:] NO_PUBKEY 030F\n"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (GOOD.format(8), True),
        (GOOD.format(8) + UNKNOWN, True),
        (UNKNOWN + GOOD.format(10), True),
        (EXPIRED.format(8) + GOOD.format(8), True),
        (UNKNOWN, False),
        (EXPIRED.format(8), False),
        (GOOD.format(2), False),
        (GOOD.format(8) + "[GNUPG:] BADSIG 1 a\n", False),
        (UNKNOWN.replace("NEWSIG", "NEWSIG a\u2028" + GOOD.format(8).replace("\n", "\u2028")), False),
        (UNKNOWN.replace("NEWSIG", "NEWSIG a\x85" + GOOD.format(8).replace("\n", "\x85")), False),
        (GOOD.format(8) + "[GNUPG:] ERROR proc_pkt.plaintext 89_BAD_DATA\n", False),
        ("gpgv: [GNUPG:] GOODSIG 1 a\n", False),
        ("[GNUPG:] GOODSIG 1 a\n", False),
        ("", False),
    ],
)
def test_status_of_gpgv(status: str, expected: bool) -> None:  # noqa: FBT001
    """A good signature counts beside ones of unknown or expired keys; a bad one, or a weak hash, spoils it."""
    assert is_well_signed(status) is expected


def test_suite_is_known_by_either_name() -> None:
    """A release is of a suite by its codename, or by its name of the day; all other releases are told by theirs."""
    release = "Origin: Debian\nSuite: oldstable\nCodename: bookworm\n"
    check_suite(release, "bookworm", HOST)
    check_suite(release, "oldstable", HOST)
    for other in (release.replace("bookworm", "trixie"), "Origin: Debian\n"):
        with pytest.raises(OperatorError, match=r"is the release of (trixie|no suite), not of bookworm"):
            check_suite(other, "bookworm", HOST)


@define
class Signed:
    """A mirror that is reached by plain http, and keys that sign its release."""

    served: Registries
    keyring: Path
    home: Path
    downloads: Downloads

    def sign(self, *keys: str, more: str = "", suite: str = SUITE) -> None:
        """Put the release to the mirror, signed by these keys."""
        text = more + self.served.answers[RELEASE].decode().replace(f"Codename: {SUITE}", f"Codename: {suite}")
        words = [word for key in keys for word in ("-u", key)]
        self.served.answers[f"{HOST}{RELEASE}"] = gpg(self.home, *words, "--clearsign", text=text.encode())

    def find(self) -> None:
        mirror = Mirror(HOST, self.downloads, keyring=self.keyring, now=lambda: NOW)
        assert mirror.find(["seabios"])["seabios"].version == "1"


def gpg(home: Path, *words: str, text: bytes = b"") -> bytes:
    command: list[str | Path] = ["gpg", "--batch", "--quiet", "--homedir", home, "--passphrase", "", *words]
    return subprocess.run(command, input=text, check=True, capture_output=True, timeout=60).stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., str]) -> Iterator[Path]:
    """A keyring of gpg with the keys known and stranger; the file known.gpg has the first one alone."""
    require_tool("gpg", package="gpg")
    require_tool("gpgv", package="gpgv")
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    for name in ("known", "stranger"):
        gpg(home, "--quick-gen-key", name, "ed25519", "sign", "never")
    (home / "known.gpg").write_bytes(gpg(home, "--export", "known"))
    yield home
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, timeout=60)


@pytest.fixture
def signed(keys: Path, served: Registries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signed:
    """The mirror of another host is the tests' own server, as a proxy."""
    for name in ("all_proxy", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", served.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served.answers.update({f"{HOST}{path}": body for path, body in served.answers.items()})
    downloads = Downloads(tmp_path / "kept", lambda _remark: None, lambda _seconds: None)
    return Signed(served, keys / "known.gpg", keys, downloads)


@pytest.mark.parametrize("by", [["known"], ["known", "stranger"], ["stranger", "known"]])
def test_signed_release(signed: Signed, by: list[str]) -> None:
    """A release that a known key has signed is taken by plain http, whoever else has signed it."""
    signed.sign(*by, more="Valid-Until: Tue, 02 Jun 2026 00:00:00 UTC\n")
    signed.find()


def test_signed_by_nobody_known(signed: Signed) -> None:
    """A release that unknown keys alone have signed is refused."""
    signed.sign("stranger")
    with pytest.raises(OperatorError, match=r"mirror\.example/dists/bookworm/InRelease has no good signature"):
        signed.find()


def test_changed_after_it_was_signed(signed: Signed) -> None:
    """A signed release that was changed, or has another message beside it, is refused."""
    signed.sign("known", "stranger")
    whole = signed.served.answers[f"{HOST}{RELEASE}"]
    for changed in (whole.replace(b"By-Hash: yes", b"By-Hash: no"), whole + whole, b"Codename: bookworm\n\n" + whole):
        signed.served.answers[f"{HOST}{RELEASE}"] = changed
        with pytest.raises(OperatorError, match="no good signature"):
            signed.find()


def test_old_release_is_refused(signed: Signed) -> None:
    """A signed release whose time is over, or whose time nobody can read, is refused by plain http."""
    for text in ("Sun, 31 May 2026 23:59:59 UTC", "soon"):
        signed.sign("known", more=f"Valid-Until: {text}\n")
        with pytest.raises(OperatorError, match=f"was valid until {text}"):
            signed.find()


def test_release_of_another_suite(signed: Signed) -> None:
    """A signed release of another suite in the place of the one that was asked for is refused."""
    signed.sign("known", suite="trixie")
    with pytest.raises(OperatorError, match="is the release of trixie, not of bookworm"):
        signed.find()


def test_redirect_from_this_machine(signed: Signed) -> None:
    """A mirror on this machine that leads to another one by plain http is followed, and has to be signed then."""
    signed.served.redirects[RELEASE] = f"{HOST}{RELEASE}"
    mirror = Mirror(signed.served.url, signed.downloads, keyring=signed.keyring, now=lambda: NOW)
    with pytest.raises(OperatorError, match="no good signature"):
        mirror.find(["seabios"])
    signed.sign("known")
    assert mirror.find(["seabios"])["seabios"].version == "1"


def test_redirect_over_another_machine(signed: Signed) -> None:
    """A way that leads over plain http, and back to a trusted place, is not trusted: anybody can have turned it."""
    signed.served.redirects[RELEASE] = f"{HOST}/away"
    signed.served.redirects[f"{HOST}/away"] = f"{signed.served.url}/back"
    signed.served.answers["/back"] = signed.served.answers[RELEASE]
    with pytest.raises(OperatorError, match="no good signature"):
        Mirror(signed.served.url, signed.downloads, keyring=signed.keyring).find(["seabios"])
