"""`aero-storage doctor` takes a lease from a file, standard input or a variable, and never prints it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.doctor.faulty_proxy import Answer, FaultyProxy, ProxyFault, Request, scripted
from tests.doctor.leases import PRIVATE, lease_for

from aero_storage.doctor.http_client import HttpClient, UnansweredError
from aero_storage.doctor.target import parse_target
from aero_storage.http.leases.carriers import Carrier, Presented

if TYPE_CHECKING:
    from tests.command_output import CommandResult

Command = Callable[..., "CommandResult"]


@pytest.fixture
def token() -> str:
    return lease_for()


@pytest.fixture
def file(tmp_path: Path, token: str) -> Path:
    path = tmp_path / "lease"
    path.write_text(f"{token}\n", encoding="ascii")
    return path


def shown(request: Request) -> str:
    return "".join(request.headers.get(name, "") for name in ("authorization", "cookie")) + request.target


def repeat_in_fields(request: Request, answer: Answer) -> Answer:
    text = shown(request)
    return answer.put(ETag=f'"{text}"', Location=text, Content_Range=text, Vary=text, WWW_Authenticate=text)


def repeat_in_bodies(request: Request, answer: Answer) -> Answer:
    document = f'[{{"id":"{shown(request)}","size_bytes":"{shown(request)}","etag":"{shown(request)}"}}]'
    return answer.filled(document.encode()) if request.method == "GET" else answer


@pytest.mark.parametrize("after", [lambda _, answer: answer, repeat_in_fields, repeat_in_bodies])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_never_printed(
    after: Callable[[Request, Answer], Answer],
    words: list[str],
    leased: FaultyProxy,
    command: Command,
    file: Path,
    token: str,
) -> None:
    """Whatever a server repeats of a request, nothing that is printed has the lease."""
    leased.fault = ProxyFault(after=after)
    said = command(leased.url, "--lease-file", str(file), *words)
    assert any(token in shown(request) for request in leased.asked)
    assert "lease-carriers" in said.out
    assert token not in said.out + said.err


@pytest.mark.parametrize("carrier", Carrier)
def test_broken_head(carrier: Carrier, token: str, caplog: pytest.LogCaptureFixture) -> None:
    """urllib3 warns of a broken head with its URL; nothing of it has the lease, however it was carried."""
    broken = b"HTTP/1.1 206 Partial Content\r\nA: b\r\nbroken head\r\nContent-Length: 0\r\n\r\n"
    with caplog.at_level("DEBUG"), scripted(broken) as (port, heads):
        target = parse_target(f"http://127.0.0.1:{port}")[0]
        with closing(HttpClient(target)) as client, suppress(UnansweredError):
            client.ask_with(Presented(carrier, token), "GET", "/v1/images/x")
    assert token.encode() in heads[0]
    assert token not in caplog.text


@pytest.mark.parametrize("source", ["file", "standard input", "variable"])
def test_sources(
    source: str, leased: FaultyProxy, command: Command, file: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, standard input and the variable give the same; the image is one that the lease opens."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(token.encode())))
    if source == "variable":
        monkeypatch.setenv("AERO_STORAGE_LEASE", token)
    words = {"file": ["--lease-file", str(file)], "standard input": ["--lease-file", "-"], "variable": []}
    said = command(leased.url, "--json", *words[source])
    assert (said.status, said.json["image"], said.json["warnings"]) == (0, PRIVATE, 0)
    assert ("lease-carriers", "pass") in {(one["check"], one["verdict"]) for one in said.json["checks"]}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--lease-file", "TOKEN"], "takes the name of a file"),
        (["--lease-file", "lease", "--header", "authorization: Basic eA=="], "take --header Authorization out"),
        (["--lease-file", "lease", "--image", "open"], f"but {PRIVATE}"),
    ],
)
def test_wrong_usage(words: list[str], text: str, command: Command, file: Path, token: str) -> None:
    """A lease as an argument is refused without being repeated; so is what contradicts the lease."""
    said = command("http://127.0.0.1:1", *(token if word == "TOKEN" else word for word in words))
    assert (said.status, said.out, text in said.err) == (2, "", True)
    assert token not in said.err
    assert file.exists()


@pytest.mark.parametrize("text", ["", "nothing", "a.b.c"])
def test_file_without_a_lease(text: str, command: Command, file: Path) -> None:
    """A file that holds no lease is told of, and nobody is asked."""
    file.write_text(text, encoding="ascii")
    said = command("http://127.0.0.1:1", "--lease-file", str(file))
    assert (said.status, "this is no lease" in said.err) == (1, True)
