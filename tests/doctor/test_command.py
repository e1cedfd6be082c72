"""`aero-storage doctor` from its words to what it prints."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from tests.doctor.damages import CASES, HTML
from tests.doctor.site import Answer, Damage, Request, Site
from tests.said import Said

from aero_storage.cli.commands.doctor import own_url
from aero_storage.cli.main import run
from aero_storage.cli.output import Output
from aero_storage.doctor.runner import CHECKS

EVIL = 'x\x1b[31m\x07\x9b2J"'


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Said]:
    """Give a function that runs the command; no setting comes from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AERO_")]:
        monkeypatch.delenv(name)

    def call(*words: str) -> Said:
        status = run(["doctor", *words], Output())
        printed = capsys.readouterr()
        return Said(status, printed.out, printed.err)

    return call


def test_sound_server(site: Site, command: Callable[..., Said]) -> None:
    """Each check has its line, the last one counts; a few MiB were read."""
    said = command(site.url)
    lines = said.out.splitlines()
    assert said.status == 0
    assert [check.name for check in CHECKS if not any(f" {check.name}: " in line for line in lines)] == []
    assert lines[-1].startswith(f"{site.url}, image disk.img: ")
    assert " 0 failures, 1 skipped; " in lines[-1]


def test_document(site: Site, command: Callable[..., Said]) -> None:
    """Scripts get the same as one document, and how much was read: a few MiB at most."""
    document = command(site.url, "--json").json
    assert (document["ok"], document["url"], document["image"], document["failures"]) == (
        True,
        site.url,
        "disk.img",
        0,
    )
    assert [one["check"] for one in document["checks"]] == [check.name for check in CHECKS]
    assert {one["verdict"] for one in document["checks"]} <= {"pass", "warning", "skipped"}
    assert 0 < document["bytes"] < 8 << 20


def test_damaged_server(site: Site, command: Callable[..., Said]) -> None:
    """A failure is told with what it means and how to mend it, and the status is 1, for scripts too."""
    site.damage = CASES["compresses"].damage
    said = command(site.url)
    words = " ".join(said.out.split())
    assert said.status == 1
    assert "FAILURE compression: " in words
    assert "means: clients refuse it" in words
    assert "mend: let nothing change the bytes on the way; in nginx, for the location: gzip off;" in words
    said = command(site.url, "--json")
    assert said.status == 1
    assert said.json["ok"] is False
    (found,) = [one for one in said.json["checks"] if one["check"] == "compression"]
    assert (found["verdict"], "gzip off" in found["mend"]) == ("failure", True)


def poison(request: Request, answer: Answer) -> Answer:
    """Control characters wherever a server can put some."""
    spoilt = [(name, EVIL) for name, _ in answer.headers if name not in ("Content-Length", "Content-Encoding")]
    kept = [(name, value) for name, value in answer.headers if name == "Content-Length"]
    answer = attrs.evolve(answer, headers=[*spoilt, *kept])
    if request.target == "/v1/images":
        return answer
    document = {"version": EVIL, "gitSha": EVIL, "etag": [EVIL], "size_bytes": EVIL, "schema": EVIL, EVIL: EVIL}
    return answer.filled(json.dumps(document).encode()) if not request.is_image else answer


def flood(depth: int) -> Callable[[Request, Answer], Answer]:
    return lambda _request, answer: answer.filled(b"[" * depth + b"]" * depth)


@pytest.mark.parametrize(
    "damage",
    [
        Damage(after=poison),
        Damage(after=lambda _, answer: answer.filled(EVIL.encode("latin-1"))),
        Damage(after=flood(500)),
        Damage(after=flood(100_000)),
        Damage(after=lambda _, answer: answer.filled(b'{"id":1,"id":2}')),
        Damage(after=lambda _, answer: answer.filled(b"[" + b"9" * 5000 + b"]")),
        Damage(after=lambda _, answer: answer.filled(b'[{"id":null,"size_bytes":1e999,"etag":NaN}]')),
        Damage(after=lambda _, answer: answer.filled(b'[{"id":["\\u001b"],"size_bytes":-1,"etag":{}}]')),
        Damage(after=lambda _, answer: attrs.evolve(answer, status=299)),
        Damage(after=lambda _, answer: answer.put(Content_Range="bytes 0-9999999999999999999999/-1")),
        Damage(after=lambda _, answer: answer.put(Age="9" * 5000, Access_Control_Max_Age="9" * 5000)),
    ],
)
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_hostile_server(damage: Damage, words: list[str], site: Site, command: Callable[..., Said]) -> None:
    """Whatever a server sends, the examination comes to its end, and prints nothing that a terminal would obey."""
    site.damage = damage
    said = command(site.url, *words)
    assert said.status in (0, 1)
    assert [line for line in said.out.splitlines() if not line.isprintable()] == []
    assert "\x9b" not in said.out
    if words:
        assert len(said.json["checks"]) == len(CHECKS)


def test_bodies_that_are_too_long(site: Site, command: Callable[..., Said]) -> None:
    """However much a server sends, what is read of it all stays within bounds."""
    body = b"[" + b" " * (6 << 20) + b"]"
    site.damage = Damage(after=lambda _, answer: answer.filled(body))
    document = command(site.url, "--image", "disk.img", "--json").json
    assert document["bytes"] < 20 << 20


def test_nobody_there(command: Callable[..., Said]) -> None:
    """Where nobody answers, what was not looked at takes one entry, not forty."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    said = command(f"http://127.0.0.1:{port}")
    assert said.status == 1
    assert said.out.count("nobody answers: see reachable") == 1
    assert " 1 failures, 42 skipped; 0 B read" in said.out


def test_own_daemon(site: Site, command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL it is the daemon that the settings describe."""
    monkeypatch.setenv("AERO_STORAGE_LISTEN_ADDR", f"0.0.0.0:{site.port}")
    assert command("--json").json["url"] == f"http://127.0.0.1:{site.port}"


@pytest.mark.parametrize(
    ("listen_addr", "url"),
    [
        ("", "http://127.0.0.1:8080"),
        ("[::]:81", "http://[::1]:81"),
        ("192.0.2.1:82", "http://192.0.2.1:82"),
    ],
)
@pytest.mark.usefixtures("command")
def test_own_url(listen_addr: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon on this machine is asked where it listens, on port 8080 without settings."""
    monkeypatch.setenv("AERO_STORAGE_LISTEN_ADDR", listen_addr)
    assert own_url() == url


def test_no_own_url(command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the settings name no address, the URL has to be given."""
    monkeypatch.setenv("AERO_STORAGE_ENDPOINT", "unix:/run/aero")
    assert (command().status, "give the URL" in command().err) == (2, True)


def test_header(site: Site, command: Callable[..., Said]) -> None:
    """A header for the server goes with every request but that for metrics, and is never printed."""
    said = command(site.url, "--header", "Authorization: Bearer s3cret", "--json")
    given = {request.target: request.headers.get("authorization") for request in site.asked}
    assert given.pop("/metrics") is None
    assert set(given.values()) == {"Bearer s3cret"}
    assert "s3cret" not in said.out + said.err


def test_image_and_origin(site: Site, command: Callable[..., Said]) -> None:
    """The image that is named is looked at, from pages of the origin that is named."""
    said = command(f"{site.url}/v1/images/disk.img/meta", "--origin", "https://app.example/", "--json")
    assert said.json["image"] == "disk.img"
    assert {request.headers["origin"] for request in site.asked if "origin" in request.headers} == {
        "https://app.example",
        "https://stranger.doctor.example",
    }


def test_page_instead(site: Site, command: Callable[..., Said]) -> None:
    """A page that answers for the daemon is shown by its beginning."""
    site.damage = CASES["HTML for everything"].damage
    said = command(site.url)
    assert said.status == 1
    assert HTML[:15].decode() in " ".join(said.out.split())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["ftp://a.example"], "no http or https URL"),
        (["http://127.0.0.1:1", "--image", "../x"], "no image id"),
        (["http://127.0.0.1:1/v1/images/a", "--image", "b"], "names the image a"),
        (["http://127.0.0.1:1", "--origin", "app.example"], "no origin"),
        (["http://127.0.0.1:1", "--header", "Authorization"], "Name: value"),
        (["http://127.0.0.1:1", "--header", "A: b\r\nC: d"], "Name: value"),
        (["http://127.0.0.1:1", "--timeout", "0"], "timeout"),
        (["http://127.0.0.1:1", "more"], "unexpected extra argument"),
    ],
)
def test_wrong_usage(words: list[str], reason: str, command: Callable[..., Said]) -> None:
    """A command line that cannot be meant is told with status 2, as JSON too, and nobody is asked."""
    said = command(*words)
    assert (said.status, said.out) == (2, "")
    assert reason in said.err
    assert reason in command(*words, "--json").json["error"]
