"""`aero-storage lease`: from a new key to a revoked lease, and where secrets go."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.command_output import CommandResult
from tests.lease_tokens import NOW, OCT, OKP, key_document, with_claims

from aero_storage.cli.commands import lease_check, lease_issue, lease_keys, lease_revoke
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.revocations import Revocation, parse_lines
from aero_storage.http.leases.verification import LeaseVerifier

Command = Callable[..., CommandResult]

pytestmark = pytest.mark.usefixtures("alone")


class Clock:
    """A clock that stands still until it is set."""

    now = NOW

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (lease_check, lease_issue, lease_keys, lease_revoke):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def issuer(command: Command, tmp_path: Path, clock: Clock) -> Path:
    assert clock.now == NOW
    path = tmp_path / "issuer.json"
    assert command("lease", "keys", "new", "--keys", path).status == 0
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def secrets_of(path: Path) -> list[str]:
    return [one[name] for one in json.loads(path.read_bytes())["keys"] for name in ("d", "k") if name in one]


def all_files(place: Path) -> set[str]:
    return {path.name for path in place.iterdir() if not path.name.endswith(".lock~")}


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_new_keys(command: Command, tmp_path: Path, as_json: tuple[str, ...]) -> None:
    """A new key of Ed25519 is for its owner alone; the public set is printed, and nothing secret."""
    path = tmp_path / "issuer.json"
    said = command("lease", "keys", "new", "--keys", path, *as_json)
    assert (said.status, mode(path)) == (0, 0o600)
    assert len(parse_key_set(said.out.encode())) == 1
    assert [secret for secret in secrets_of(path) if secret in said.out + said.err] == []
    assert len(secrets_of(path)) == 1
    assert all_files(tmp_path) == {"issuer.json"}


def test_new_secret(command: Command, tmp_path: Path) -> None:
    """A new secret is not printed: issuer and daemon read the same file."""
    path = tmp_path / "keys.json"
    said = command("lease", "keys", "new", "--alg", "HS256", "--keys", path)
    assert (said.status, mode(path)) == (0, 0o600)
    assert secrets_of(path)[0] not in said.out + said.err
    assert "lease-keys-file is" in said.out
    assert parse_key_set(path.read_bytes()).has_secrets


def test_new_keys_replace_nothing(command: Command, issuer: Path) -> None:
    """A file that exists is not replaced by a new one, whose leases would be other ones."""
    before = issuer.read_bytes()
    said = command("lease", "keys", "new", "--keys", issuer)
    assert (said.status, "rotate" in said.err) == (1, True)
    assert issuer.read_bytes() == before


def test_rotation(command: Command, issuer: Path, clock: Clock, tmp_path: Path) -> None:
    """After a rotation the new key signs and the old one verifies; a rotation after the lifetime removes it."""
    first = command("lease", "issue", "win98", "--keys", issuer).out.strip()
    said = command("lease", "keys", "rotate", "--keys", issuer)
    second = command("lease", "issue", "win98", "--keys", issuer).out.strip()
    verifier = LeaseVerifier(parse_key_set(said.out.encode()))
    assert verifier.verify(first).kid != verifier.verify(second).kid
    assert len(secrets_of(issuer)) == 1
    assert mode(issuer) == 0o600
    clock.now += 86400 + 30
    last = command("lease", "keys", "rotate", "--keys", issuer, "--json")
    kids = [key["kid"] for key in last.json["keys"]]
    assert verifier.verify(second).kid in kids
    assert verifier.verify(first).kid not in kids
    assert all_files(tmp_path) == {"issuer.json"}


def test_rotation_to_another_algorithm(command: Command, tmp_path: Path, clock: Clock) -> None:
    """A rotation may change the algorithm; the daemon's file has the old secret only if that is asked for."""
    path, public = tmp_path / "keys.json", tmp_path / "public.json"
    clock.now = NOW
    command("lease", "keys", "new", "--alg", "HS256", "--keys", path)
    (old,) = secrets_of(path)
    said = command("lease", "keys", "rotate", "--alg", "EdDSA", "--keys", path)
    assert old not in said.out + said.err
    refused = command("lease", "keys", "public", "--keys", path)
    assert (refused.status, refused.out, "--with-secrets" in refused.err) == (1, "", True)
    assert command("lease", "keys", "public", "--keys", path, "--with-secrets", "--out", public).status == 0
    assert mode(public) == 0o600
    assert len(parse_key_set(public.read_bytes())) == 2
    assert secrets_of(public) == [old]


def test_public_keys(command: Command, issuer: Path, tmp_path: Path) -> None:
    """The public set is printed, or written to a file as a whole, readable for all."""
    public = tmp_path / "public.json"
    printed = command("lease", "keys", "public", "--keys", issuer)
    assert command("lease", "keys", "public", "--keys", issuer, "--out", public).status == 0
    assert parse_key_set(public.read_bytes()) == parse_key_set(printed.out.encode())
    assert mode(public) == 0o644


def test_readable_keys(command: Command, issuer: Path) -> None:
    """A file of secrets that everybody may read is used, with a warning each time."""
    issuer.chmod(0o644)
    assert "chmod o-r" in command("lease", "issue", "win98", "--keys", issuer).err


def issued(command: Command, issuer: Path, *words: str) -> CommandResult:
    said = command("lease", "issue", *words, "--keys", issuer)
    assert said.status == 0, said.err
    return said


def test_issue(command: Command, issuer: Path) -> None:
    """A lease is printed alone, and has what was asked for."""
    words = [
        "b",
        "a",
        "b",
        "--for",
        "2h",
        "--sub",
        "ada",
        "--ver",
        "v-1",
        "--url-for",
        "60s",
        "--lease-audience",
        "x",
    ]
    token = issued(command, issuer, *words).out.removesuffix("\n")
    keys = command("lease", "keys", "public", "--keys", issuer).out.encode()
    claims = LeaseVerifier(parse_key_set(keys)).verify(token).claims
    assert (claims.images, claims.subject, claims.version) == (("b", "a"), "ada", "v-1")
    assert claims.scopes == {"disk:read"}
    assert (claims.issued_at, claims.expires_at, claims.url_until) == (NOW, NOW + 7200, NOW + 60)
    assert claims.audience == ("x",)
    assert len(claims.identifier or "") == 32


def test_default_lifetime(command: Command, issuer: Path) -> None:
    """A lease is good for a quarter of an hour, and has a name of its own."""
    first, second = (issued(command, issuer, "win98", "--json").json for _ in range(2))
    assert first["expires_at"] == NOW + 900
    assert first["jti"] != second["jti"]


def test_urls(command: Command, issuer: Path) -> None:
    """With a base there is a URL for each image, or one that sets its cookie."""
    said = issued(command, issuer, "a", "b", "--url", "https://disks.example/x/", "--json").json
    assert said["urls"] == [f"https://disks.example/x/v1/images/{one}?lease={said['lease']}" for one in "ab"]
    (url,) = issued(command, issuer, "a", "--url", "http://h:1", "--url-for", "1m", "--cookie").out.split()
    assert url.startswith("http://h:1/v1/images/a/lease?")
    assert {name: len(found) for name, found in parse_qs(urlsplit(url).query).items()} == {"cookie": 1, "lease": 1}


def test_cookies(command: Command, issuer: Path) -> None:
    """Without a base, cookies are printed as a server sets them, one for each image."""
    said = issued(command, issuer, "a", "b", "--for", "1h", "--cookie", "--json").json
    assert said["cookies"] == [
        f"__Secure-aero-lease={said['lease']}; Path=/v1/images/{one}; HttpOnly; Max-Age=3600; Secure; SameSite=Lax"
        for one in "ab"
    ]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a/b"],
        [f"a{number}" for number in range(17)],
        ["a", "--for", "2d"],
        ["a", "--for", "soon"],
        ["a", "--for", "1m", "--url-for", "2m"],
        ["a", "--sub", "a b"],
        ["a", "--sub", ""],
        ["a", "--sub", "x" * 129],
        ["a", "--jti", "x" * 65],
        ["a", "--ver", "a/b"],
        ["a", "--url", "ftp://h"],
        ["a", "--url", "https://h/?x=1"],
        ["a", "--url", "h"],
    ],
)
def test_issue_refuses(command: Command, issuer: Path, words: list[str]) -> None:
    """What no daemon would take is a usage error, and no lease is printed."""
    said = command("lease", "issue", *words, "--keys", issuer)
    assert (said.status, said.out) == (2, "")


@pytest.mark.parametrize("content", [None, b"", b"{}", key_document(OKP), key_document()])
def test_keys_that_cannot_sign(command: Command, tmp_path: Path, content: bytes | None) -> None:
    """A file that is missing or cannot sign is told by its name."""
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_bytes(content)
    said = command("lease", "issue", "a", "--keys", path)
    assert (said.status, said.out) == (1, "")
    assert str(path) in said.err


@pytest.fixture
def keys(tmp_path: Path, clock: Clock) -> Path:
    clock.now = NOW
    path = tmp_path / "keys.json"
    path.write_bytes(key_document(OCT, OKP))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("changed", "words", "result", "reason"),
    [
        ({}, [], "ok", "it opens win98 for 840 seconds more"),
        ({}, ["--image", "win98", "--ver", "v-1", "--in-url"], "ok", "840 seconds"),
        ({"exp": NOW - 30}, [], "expired", "it ended at 2027-01-15T07:59:30Z"),
        ({"uexp": NOW - 31}, ["--in-url"], "expired", "it ended at 2027-01-15T07:59:29Z"),
        ({"uexp": NOW - 31}, [], "ok", "it opens"),
        ({"nbf": NOW + 31}, [], "not_yet", "nbf"),
        ({"nbf": NOW + 31}, ["--lease-leeway-secs", "31"], "ok", "it opens"),
        ({"exp": NOW + 90000}, [], "too_long", "86400 are allowed"),
        ({"exp": NOW + 90000}, ["--lease-max-lifetime-secs", "100000"], "ok", "it opens"),
        ({}, ["--lease-audience", "x"], "wrong_audience", "aud"),
        ({"scope": ""}, [], "wrong_scope", "disk:read"),
        ({}, ["--image", "other"], "wrong_image", "other"),
        ({"ver": "v-2"}, ["--ver", "v-1"], "wrong_version", "v-2"),
        ({"img": []}, [], "malformed", "img"),
    ],
)
@pytest.mark.parametrize("kid", ["hs", "ed"])
def test_check(
    command: Command,
    keys: Path,
    tmp_path: Path,
    kid: str,
    changed: dict[str, object],
    words: list[str],
    result: str,
    reason: str,
) -> None:
    """A lease is judged by the daemon's words, and told why."""
    (tmp_path / "lease").write_text(with_claims(kid, **changed) + "\n")
    said = command("lease", "check", f"@{tmp_path / 'lease'}", "--keys", keys, *words, "--json")
    assert (said.json["result"], said.status) == (result, int(result != "ok"))
    assert reason in said.json["reason"]
    shown = command("lease", "check", f"@{tmp_path / 'lease'}", "--keys", keys, *words)
    assert shown.out.startswith(f"{result}: ")
    assert with_claims(kid, **changed) not in shown.out + shown.err + said.out + said.err


def test_claims_are_shown(command: Command, keys: Path, tmp_path: Path) -> None:
    """What a lease says is shown, also of one that is refused."""
    (tmp_path / "lease").write_text(with_claims(img=["a", "b"], ver="v-1", nbf=NOW, uexp=NOW + 1, aud="x"))
    said = command("lease", "check", f"@{tmp_path / 'lease'}", "--keys", keys, "--json").json
    assert said["claims"] == {
        "img": ["a", "b"],
        "scope": ["disk:read"],
        "iat": "2027-01-15T07:59:00Z",
        "exp": "2027-01-15T08:14:00Z",
        "nbf": "2027-01-15T08:00:00Z",
        "uexp": "2027-01-15T08:00:01Z",
        "sub": "ada",
        "jti": "lease-1",
        "ver": "v-1",
        "aud": ["x"],
    }
    (tmp_path / "lease").write_text(with_claims(iat=-1e300, exp=1e300)[:-1] + "A")
    said = command("lease", "check", f"@{tmp_path / 'lease'}", "--keys", keys)
    assert said.out.startswith("bad_signature: ")
    assert "exp: 1e+300" in said.out


def test_check_by_the_issuers_file(command: Command, issuer: Path, tmp_path: Path) -> None:
    """The issuer's file serves for a check as the daemon's does."""
    (tmp_path / "lease").write_text(issued(command, issuer, "win98").out)
    assert command("lease", "check", f"@{tmp_path / 'lease'}", "--keys", issuer).status == 0


def test_lease_from_standard_input(command: Command, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is standard input."""
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(with_claims().encode() + b"\n")))
    assert command("lease", "check", "-", "--keys", keys).status == 0


def test_lease_from_the_variable(command: Command, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name the variable is read; without that, the command tells what it takes."""
    said = command("lease", "check", "--keys", keys)
    assert (said.status, "AERO_STORAGE_LEASE" in said.err) == (2, True)
    monkeypatch.setenv("AERO_STORAGE_LEASE", with_claims())
    assert command("lease", "check", "--keys", keys).status == 0


@pytest.mark.parametrize(
    "words", [["check", "--keys", "keys.json"], ["check"], ["revoke", "--revocations", "revoked"], ["revoke"]]
)
def test_lease_as_an_argument(command: Command, keys: Path, tmp_path: Path, words: list[str]) -> None:
    """A lease as an argument is refused before all else, with the reason, and not repeated."""
    assert keys.parent == tmp_path
    said = command("lease", words[0], with_claims(), *words[1:], "--json")
    assert said.status == 2
    assert "shows in the list of processes" in said.err
    assert with_claims().split(".")[1] not in said.out + said.err
    assert not (tmp_path / "revoked").exists()


def test_missing_file(command: Command, keys: Path) -> None:
    """A file that is missing is told."""
    said = command("lease", "check", "@missing", "--keys", keys)
    assert (said.status, "there is no file missing" in said.err) == (1, True)


def revoke(command: Command, path: Path, *words: str) -> CommandResult:
    said = command("lease", "revoke", "--revocations", path, *words)
    assert said.status == 0, said.err
    return said


def lines_of(path: Path) -> list[Revocation]:
    return list(parse_lines(path.read_bytes().splitlines()))


def test_revoke(command: Command, tmp_path: Path, clock: Clock) -> None:
    """Names, users, images and keys are revoked, one line each, and the daemon reads them."""
    path = tmp_path / "revoked"
    clock.now = NOW + 0.25
    revoke(command, path, "--jti", "lease-1")
    revoke(command, path, "--sub", "ada")
    revoke(command, path, "--image", "win98", "--before", "2027-01-15T07:00:00.5Z")
    said = revoke(command, path, "--kid", "k", "--json")
    assert lines_of(path) == [
        Revocation("jti", "lease-1"),
        Revocation("sub", "ada", NOW + 0.25),
        Revocation("img", "win98", NOW - 3599.5),
        Revocation("kid", "k"),
    ]
    assert said.json == {"kid": "k", "at": NOW, "dropped": 0}
    assert mode(path) == 0o644
    assert all_files(tmp_path) == {"revoked"}


def test_revoked_lease_is_told(command: Command, keys: Path, tmp_path: Path) -> None:
    """A lease itself names what is revoked; the check knows of it then."""
    (tmp_path / "lease").write_text(with_claims())
    words = ("lease", "check", f"@{tmp_path / 'lease'}", "--keys", keys, "--revocations", tmp_path / "revoked")
    revoke(command, tmp_path / "revoked", f"@{tmp_path / 'lease'}")
    assert command(*words).out.startswith("revoked: ")
    (tmp_path / "revoked").unlink()
    revoke(command, tmp_path / "revoked", "--image", "win98")
    assert command(*words).out.startswith("revoked: it is revoked for win98")


def test_old_lines_are_dropped(command: Command, tmp_path: Path, clock: Clock) -> None:
    """Lines that can hit no lease any more go; all others stay byte for byte, with what is unknown in them."""
    path = tmp_path / "revoked"
    clock.now = NOW
    old = NOW - 86400 - 31
    kept = [
        b'{"jti": "a"}\n',
        b'{ "jti":"b" , "note": {"x": 1}}\r\n',
        b'{"kid": "k", "at": 5}\n',
        b'{"sub": "ada", "before": %d}\n' % (old + 2),
        b'{"jti": "c", "at": %d}' % (old + 2),
    ]
    gone = [b'{"sub": "bob", "before": %d}\n' % old, b'{"jti": "d", "at": %d}\n' % old, b"\n"]
    path.write_bytes(b"".join([*gone, *kept]))
    path.chmod(0o640)
    said = revoke(command, path, "--jti", "e", "--json")
    assert said.json["dropped"] == 2
    assert path.read_bytes() == b"".join([*kept, b"\n", b'{"jti": "e", "at": %d}\n' % NOW])
    assert mode(path) == 0o640


def test_broken_revocations_are_kept(command: Command, tmp_path: Path) -> None:
    """A file with a bad line is told, and not changed."""
    (tmp_path / "revoked").write_bytes(b'{"jti": "a"}\nx\n')
    said = command("lease", "revoke", "--revocations", tmp_path / "revoked", "--jti", "b")
    assert (said.status, "line 2" in said.err) == (1, True)
    assert (tmp_path / "revoked").read_bytes() == b'{"jti": "a"}\nx\n'


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--jti", "a", "--sub", "b"],
        ["--jti", "a", "--before", "5"],
        ["--kid", "a", "--before", "5"],
        ["--sub", "a", "--before", "yesterday"],
        ["--sub", "a b"],
        ["--jti", ""],
        ["--image", "a/b"],
    ],
)
def test_revoke_refuses(command: Command, tmp_path: Path, words: list[str]) -> None:
    """One thing is revoked at a time, and nothing that no lease can have."""
    assert command("lease", "revoke", "--revocations", tmp_path / "revoked", *words).status == 2
    assert not (tmp_path / "revoked").exists()


def test_lease_without_a_name(command: Command, tmp_path: Path) -> None:
    """A lease without `jti` cannot be revoked by itself; the command says by what else."""
    (tmp_path / "lease").write_text(with_claims(jti=...))
    said = command("lease", "revoke", "--revocations", tmp_path / "revoked", f"@{tmp_path / 'lease'}")
    assert (said.status, "--sub" in said.err) == (1, True)


def test_killed_commands_leave_whole_files(tmp_path: Path) -> None:
    """A command that is killed before the rename leaves nothing under the name, and nothing that others may read."""
    place = tmp_path / "place"
    place.mkdir()
    program = (
        "import sys, os; from aero_storage.atomic_files import directory; from aero_storage.cli.main import main\n"
        "directory.Directory.move = lambda *_: os._exit(9)\n"
        "sys.argv = ['aero-storage', 'lease', 'keys', 'new', '--keys', 'issuer.json']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=place, check=False, timeout=60, env=dict(os.environ))
    assert done.returncode == 9
    assert not (place / "issuer.json").exists()
    assert [mode(path) for path in place.iterdir()] == [0o600, 0o600], "the lock, and what was written"
