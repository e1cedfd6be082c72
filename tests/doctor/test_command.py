"""`aero-storage doctor` from its words to what it prints."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from tests.command_output import CommandResult
from tests.doctor.fault_cases import CASES, HTML
from tests.doctor.faulty_proxy import Answer, FaultyProxy, ProxyFault, Request

from aero_storage import settings
from aero_storage.cli.commands.doctor import own_url
from aero_storage.doctor.runner import CHECKS

EVIL = 'x\x1b[31m\x07\x9b2J"'


def test_sound_server(proxy: FaultyProxy, command: Callable[..., CommandResult]) -> None:
    """Each check has its line, the last one counts; a few MiB were read."""
    said = command(proxy.url)
    lines = said.out.splitlines()
    assert said.status == 0
    named = re.findall(r"[a-z0-9-]+(?=[,:] )", " ".join(said.out.split()))
    assert [check.name for check in CHECKS if check.name not in named] == []
    assert lines[-1].startswith(f"{proxy.url}, image disk.img: ")
    assert " 0 failures, 12 skipped; " in lines[-1]


def test_document(proxy: FaultyProxy, command: Callable[..., CommandResult]) -> None:
    """Scripts get the same as one document, and how much was read: a few MiB at most."""
    document = command(proxy.url, "--json").json
    assert (document["ok"], document["url"], document["image"], document["failures"]) == (
        True,
        proxy.url,
        "disk.img",
        0,
    )
    assert [one["check"] for one in document["checks"]] == [check.name for check in CHECKS]
    assert {one["verdict"] for one in document["checks"]} <= {"pass", "warning", "skipped"}
    assert 0 < document["bytes"] < 8 << 20


def test_damaged_server(proxy: FaultyProxy, command: Callable[..., CommandResult]) -> None:
    """A failure is told with what it means and how to mend it, and the status is 1, for scripts too."""
    proxy.fault = CASES["compresses"].fault
    said = command(proxy.url)
    words = " ".join(said.out.split())
    assert said.status == 1
    assert "FAILURE compression: " in words
    assert "means: clients refuse it" in words
    assert "mend: let nothing change the bytes on the way; in nginx, for the location: gzip off;" in words
    said = command(proxy.url, "--json")
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
    "fault",
    [
        ProxyFault(after=poison),
        ProxyFault(after=lambda _, answer: answer.filled(EVIL.encode("latin-1"))),
        ProxyFault(after=flood(500)),
        ProxyFault(after=flood(100_000)),
        ProxyFault(after=lambda _, answer: answer.filled(b'{"id":1,"id":2}')),
        ProxyFault(after=lambda _, answer: answer.filled(b"[" + b"9" * 5000 + b"]")),
        ProxyFault(after=lambda _, answer: answer.filled(b'[{"id":null,"size_bytes":1e999,"etag":NaN}]')),
        ProxyFault(after=lambda _, answer: answer.filled(b'[{"id":["\\u001b"],"size_bytes":-1,"etag":{}}]')),
        ProxyFault(after=lambda _, answer: attrs.evolve(answer, status=299)),
        ProxyFault(after=lambda _, answer: answer.put(Content_Range="bytes 0-9999999999999999999999/-1")),
        ProxyFault(after=lambda _, answer: answer.put(Age="9" * 5000, Access_Control_Max_Age="9" * 5000)),
    ],
)
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_hostile_server(
    fault: ProxyFault, words: list[str], proxy: FaultyProxy, command: Callable[..., CommandResult]
) -> None:
    """Whatever a server sends, the examination comes to its end, and prints nothing that a terminal would obey."""
    proxy.fault = fault
    said = command(proxy.url, *words)
    assert said.status in (0, 1)
    assert [line for line in said.out.splitlines() if not line.isprintable()] == []
    assert "\x9b" not in said.out
    if words:
        assert len(said.json["checks"]) == len(CHECKS)


def test_bodies_that_are_too_long(proxy: FaultyProxy, command: Callable[..., CommandResult]) -> None:
    """However much a server sends, what is read of it all stays within bounds."""
    body = b"[" + b" " * (6 << 20) + b"]"
    proxy.fault = ProxyFault(after=lambda _, answer: answer.filled(body))
    document = command(proxy.url, "--image", "disk.img", "--json").json
    assert document["bytes"] < 20 << 20


def test_nobody_there(command: Callable[..., CommandResult]) -> None:
    """Where nobody answers, what was not looked at takes one entry, not forty."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    said = command(f"http://127.0.0.1:{port}")
    assert said.status == 1
    assert " ".join(said.out.split()).count("the server does not answer: see reachable") == 1
    assert " 1 failures, 61 skipped; 0 B read" in said.out


def test_own_daemon(
    proxy: FaultyProxy, command: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a URL it is the daemon that the settings describe."""
    monkeypatch.setenv("AERO_STORAGE_LISTEN_ADDR", f"0.0.0.0:{proxy.port}")
    assert command("--json").json["url"] == f"http://127.0.0.1:{proxy.port}"


@pytest.mark.parametrize(
    ("listen_addr", "url"),
    [
        ("", "http://127.0.0.1:8080"),
        ("[::]:81", "http://[::1]:81"),
        ("192.0.2.1:82", "http://192.0.2.1:82"),
    ],
)
def test_own_url(listen_addr: str, url: str) -> None:
    """The daemon on this machine is asked where it listens, on port 8080 without settings."""
    given = settings.resolve({}, {"AERO_STORAGE_LISTEN_ADDR": listen_addr}, Path.cwd()).settings
    assert own_url(given) == url


def test_no_own_url(command: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the settings name no address, the URL has to be given."""
    monkeypatch.setenv("AERO_STORAGE_ENDPOINT", "unix:/run/aero")
    assert (command().status, "give the URL" in command().err) == (2, True)


def test_header(proxy: FaultyProxy, command: Callable[..., CommandResult]) -> None:
    """A header for the server goes with every request but that for metrics, and is never printed."""
    said = command(proxy.url, "--header", "Authorization: Bearer s3cret", "--json")
    given = {request.target: request.headers.get("authorization") for request in proxy.asked}
    assert given.pop("/metrics") is None
    assert set(given.values()) == {"Bearer s3cret"}
    assert "s3cret" not in said.out + said.err


def test_image_and_origin(proxy: FaultyProxy, command: Callable[..., CommandResult]) -> None:
    """The image that is named is looked at, from pages of the origin that is named."""
    said = command(f"{proxy.url}/v1/images/disk.img/meta", "--origin", "https://app.example/", "--json")
    assert said.json["image"] == "disk.img"
    assert {request.headers["origin"] for request in proxy.asked if "origin" in request.headers} == {
        "https://app.example",
        "https://stranger.doctor.example",
    }


def test_page_instead(proxy: FaultyProxy, command: Callable[..., CommandResult]) -> None:
    """A page that answers for the daemon is shown by its beginning."""
    proxy.fault = CASES["HTML for everything"].fault
    said = command(proxy.url)
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
def test_wrong_usage(words: list[str], reason: str, command: Callable[..., CommandResult]) -> None:
    """A command line that cannot be meant is told with status 2, as JSON too, and nobody is asked."""
    said = command(*words)
    assert (said.status, said.out) == (2, "")
    assert reason in said.err
    assert reason in command(*words, "--json").json["error"]
