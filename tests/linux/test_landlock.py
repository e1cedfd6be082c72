"""Landlock, asked of the real kernel: what rules allow, and that all else is denied."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aero_storage.cli.disk_images import confined_exec
from aero_storage.errors import OperatorError
from aero_storage.linux import landlock
from aero_storage.linux.landlock import Access, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Confined = Callable[..., str]

READ = Access.READ_FILE | Access.READ_DIR | Access.EXECUTE
ALWAYS = {sys.base_prefix, "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/bin"}
ABI = landlock.abi_version()
VERSIONS = range(1, min(ABI, 7) + 1)

pytestmark = pytest.mark.skipif(
    not ABI and os.environ.get("CI") != "true", reason="this kernel has no Landlock; in CI it must be there"
)


def test_it_is_there() -> None:
    """The kernel tells the version of its ABI."""
    assert ABI > 0


@pytest.fixture
def confined() -> Iterator[Confined]:
    """Give a function that runs Python code under a ruleset, and returns what it printed, or its error's name."""
    opened = [os.open(path, os.O_PATH) for path in ALWAYS if Path(path).exists()]

    def run(code: str, *rules: Rule, version: int = ABI) -> str:
        ruleset = landlock.create_ruleset([*(Rule(place, READ) for place in opened), *rules], version)
        words = [sys.executable, "-I", "-S", str(confined_exec.__file__), str(os.getpid()), str(ruleset)]
        guarded = f"try:\n {code}\nexcept OSError as error:\n print(type(error).__name__)"
        inherited = (ruleset, *(rule.descriptor for rule in rules))
        try:
            done = subprocess.run(
                [*words, sys.executable, "-I", "-S", "-c", guarded],
                pass_fds=inherited,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            os.close(ruleset)
        assert not done.stderr
        return done.stdout.strip()

    yield run
    for descriptor in opened:
        os.close(descriptor)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("allowed")
    (tmp_path / "other").write_text("secret")
    return tmp_path / "file"


@pytest.mark.parametrize("version", VERSIONS)
def test_all_else_is_denied(confined: Confined, file: Path, version: int) -> None:
    """A file with a rule can be read, by name and by an inherited descriptor; its neighbour cannot."""
    with file.open("rb") as allowed, file.with_name("other").open("rb") as other:
        rule = Rule(allowed.fileno(), Access.READ_FILE)
        assert confined(f"print(open({str(file)!r}).read())", rule, version=version) == "allowed"
        assert confined(f"print(open('/proc/self/fd/{allowed.fileno()}').read())", rule) == "allowed"
        assert confined(f"print(open({str(file.with_name('other'))!r}).read())", rule) == "PermissionError"
        assert confined("print(open('/proc/self/environ').read())", rule) == "PermissionError"
        assert other.read() == b"secret"


def test_rules_are_on_files(confined: Confined, file: Path) -> None:
    """A file that came into the place of another is denied, and so is a descriptor that leads to another file."""
    with file.open("rb") as allowed:
        rule = Rule(allowed.fileno(), Access.READ_FILE)
        file.with_name("other").replace(file)
        assert confined(f"print(open({str(file)!r}).read())", rule) == "PermissionError"
        assert confined(f"print(open('/proc/self/fd/{allowed.fileno()}').read())", rule) == "allowed"


def test_links_lead_nowhere(confined: Confined, file: Path) -> None:
    """A link below an allowed directory to a file outside of it is denied."""
    (file.parent / "place").mkdir()
    (file.parent / "place/link").symlink_to(file)
    descriptor = os.open(file.parent / "place", os.O_PATH)
    try:
        rule = Rule(descriptor, READ)
        assert confined(f"print(open({str(file.parent / 'place/link')!r}).read())", rule) == "PermissionError"
    finally:
        os.close(descriptor)


def test_writing(confined: Confined, file: Path) -> None:
    """A file that may be read may not be written; one that may be written may be truncated if the rule says so."""
    code = f"print(open({str(file)!r}, 'w').write('written'))"
    with file.open("r+b") as open_file:
        number = open_file.fileno()
        assert confined(code, Rule(number, Access.READ_FILE)) == "PermissionError"
        assert confined(code, Rule(number, Access.WRITE_FILE | Access.TRUNCATE)) == "7"
    assert file.read_text() == "written"


def test_versions() -> None:
    """Each version of the ABI is asked for what it knows: an older kernel would refuse more."""
    asked = [landlock._attributes(version) for version in range(1, 8)]  # noqa: SLF001
    assert [attributes.fs.bit_length() for attributes in asked] == [13, 14, 15, 15, 16, 16, 16]
    assert [attributes.net for attributes in asked] == [0, 0, 0, 3, 3, 3, 3]
    assert [attributes.scoped for attributes in asked] == [0, 0, 0, 0, 0, 3, 3]


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX"])
@pytest.mark.parametrize("version", VERSIONS)
def test_sockets(confined: Confined, version: int, family: str) -> None:
    """No socket can be made, under any version of the ABI."""
    code = f"import socket; print(socket.socket(socket.{family}))"
    assert confined(code, version=version) == "PermissionError"


@pytest.mark.skipif(ABI < 6, reason="scopes exist from version 6 on")
def test_signals(confined: Confined) -> None:
    """Signals to processes outside are denied."""
    assert confined(f"import os; os.kill({os.getpid()}, 0)") == "PermissionError"


def test_no_new_privileges(confined: Confined) -> None:
    """Nothing that the process executes gains privileges."""
    status = os.open("/proc", os.O_PATH)
    try:
        code = "print([line for line in open('/proc/self/status') if 'NoNewPrivs' in line][0].split()[1])"
        assert confined(code, Rule(status, READ)) == "1"
    finally:
        os.close(status)


def test_pseudo_files() -> None:
    """The kernel's refusal of a rule is told."""
    with closing(socket.socket()) as sock, pytest.raises(OperatorError, match=r"^Landlock failed: "):
        landlock.create_ruleset([Rule(sock.fileno(), Access.READ_FILE)], ABI)


def test_no_landlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that refuses the call has none."""
    monkeypatch.setattr(landlock, "_CREATE_RULESET", 100_000)
    assert landlock.abi_version() == 0


def test_same_number() -> None:
    """The helper program, which imports nothing of ours, calls the same system call."""
    assert confined_exec._LANDLOCK_RESTRICT_SELF == landlock.RESTRICT_SELF  # noqa: SLF001
