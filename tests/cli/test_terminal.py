"""What reaches the terminal: hostile names, texts of a catalog, arguments and answers of servers."""

from __future__ import annotations

import ast
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.command_output import CommandResult

import aero_storage.cli
from aero_storage.cli import progress as progress_module

Command = Callable[..., CommandResult]

# A title, the clipboard, a colour, a bell, a C1 sequence, a line break, a return, DEL, and text from right to left.
EVIL = "a\x1b]0;title\x07\x1b]52;c;eA==\x07\x1b[31mb\x9b31mc\nd\re\x7ff\u202eg.img"
DANGEROUS = {char for char in EVIL if not char.isprintable() and char != "\n"}


pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(autouse=True)
def _progress_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of progress come at once."""
    monkeypatch.setattr(progress_module, "LINE_SECONDS", 0.0)


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """Serve these bytes to every request, whatever it is, and give the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def assert_harmless(said: CommandResult) -> None:
    printed = said.out + said.err
    assert printed
    assert not DANGEROUS & set(printed)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Make a root whose catalog and files have hostile names and texts."""
    root = tmp_path / "images"
    root.mkdir()
    for name in (EVIL, "x.img"):
        (root / name).write_bytes(bytes(4096))
    entry = {"id": "x", "file": EVIL, "name": EVIL, "description": EVIL}
    (root / "manifest.json").write_text(json.dumps([entry, {"id": "y", "file": f"gone{EVIL}", "name": "Y"}]))
    return root


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["list", "--json"],
        ["catalog", "check"],
        ["catalog", "check", "--json"],
        ["publish", "x"],
        ["publish", "y"],
        ["publish", EVIL],
        ["import", EVIL, "--id", "new"],
        ["import", EVIL, "--id", EVIL],
        ["import", "none", "--id", "new", f"--{EVIL}"],
        ["remove", "y"],
        ["remove", "x", "--yes", "--json"],
        ["verify", EVIL],
        ["verify", f"http://127.0.0.1:1/{EVIL}"],
        ["doctor", f"http://127.0.0.1:1/{EVIL}"],
        ["doctor", "http://127.0.0.1:1", "--origin", EVIL],
        [EVIL],
        ["list", "--images-root", EVIL],
    ],
    ids=lambda words: " ".join(word.encode("unicode_escape").decode()[:20] for word in words),
)
@pytest.mark.usefixtures("images")
def test_names_do_not_drive_the_terminal(command: Command, tmp_path: Path, words: list[str]) -> None:
    """Names of files, texts of the catalog and arguments are printed without control characters, in any command."""
    (tmp_path / EVIL).write_bytes(os.urandom(4096))
    assert_harmless(command(*words))


def test_catalog_with_hostile_ids(command: Command, images: Path) -> None:
    """An id, a key or a value that makes the catalog invalid is told of without control characters."""
    for broken in ([{"id": EVIL, "file": "x", "name": "x"}], [{"id": "x", "file": "x", EVIL: 1}], {EVIL: EVIL}):
        (images / "manifest.json").write_text(json.dumps(broken))
        said = command("list")
        assert said.status == 1
        assert_harmless(said)


ANSWERS = [
    b"HTTP/1.1 200 \x1b[31mOK\r\nContent-Length: \x1b[31m9\r\nETag: \x1b]0;t\x07\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Encoding: \x1b[31mx\x9b1m\r\nServer: \x1b[31m\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\x1b[31mx\r\nContent-Length: 0\r\n\r\n",
    b"\x1b]0;title\x07\x1b[31m no HTTP at all \x9b31m\r\n\r\n",
    b'HTTP/1.1 200 OK\r\nContent-Length: 23\r\nCache-Control: no-transform\r\n\r\n{"a\x1b[31m":"\x1b]0;t\x07\x1b[2"}',
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{"\\u001b[31m": [1]}',
    b'HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n[{"id":"\\u001b[31mx","name":"\\u009b31m"} ]',
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("words", [["verify"], ["doctor", "--timeout", "2"], ["doctor", "--timeout", "2", "--json"]])
def test_servers_do_not_drive_the_terminal(command: Command, answer: bytes, words: list[str]) -> None:
    """What a server answers, in any part of it, reaches the terminal without control characters."""
    with server(answer) as url:
        said = command(words[0], f"{url}/manifest.json" if words == ["verify"] else url, *words[1:])
    assert said.status == 1
    assert_harmless(said)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@127.0.0.1:1/manifest.json",
        "HTTPS://secret@127.0.0.1:1/manifest.json",
        "http://user:secret@[::1/manifest.json",
        "http://user:secret@127.0.0.1:port/manifest.json",
        "http:/user:secret@127.0.0.1/manifest.json",
        "http://127.0.0.1:1/manifest.json?token=secret",
        "http://127.0.0.1:1/manifest.json?sig=se%3Dc&x=secret#secret",
    ],
)
@pytest.mark.parametrize("words", [["verify"], ["verify", "--json"], ["doctor"], ["doctor", "--json"]])
def test_secrets_in_urls(command: Command, url: str, words: list[str]) -> None:
    """A user's name or a query in a URL, which may be credentials, is never printed."""
    said = command(words[0], url, *words[1:])
    assert said.status != 0
    assert "secret" not in said.out + said.err


def test_secrets_in_redirects(command: Command) -> None:
    """The credentials that a server puts into a redirect are not printed either."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://u:secret@127.0.0.1:1/?token=secret\r\nContent-Length: 0\r\n\r\n"
    with server(answer) as url:
        said = command("verify", f"{url}/manifest.json?token=secret")
    assert said.status == 1
    assert "secret" not in said.out + said.err


def test_one_way_out() -> None:
    """No other module of the command writes to the terminal, by whatever means."""
    package = Path(aero_storage.cli.__file__).parent
    ways = {"print", "stdout", "stderr", "Console", "echo", "secho", "confirm", "prompt"}
    found = set[str]()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
            is_child = path.name in ("qemu.py", "programs.py", "debian_release.py") and name in ("stdout", "stderr")
            is_ours = name == "confirm" and isinstance(node, ast.Name)
            if name in ways and not (is_child or is_ours):
                found.add(str(path.relative_to(package)))
    assert found == {"terminal.py"}
