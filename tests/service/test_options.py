"""The command line: what is given, what it is settled to, and how mistakes end."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.lease_tokens import OKP, key_document
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import Options as UsageOptions

from aero_storage.logs.json_log import JsonLines, TwistedLog
from aero_storage.service.tap import Options, makeService
from aero_storage.settings import table


def memory_reactor() -> Any:
    """A reactor that only takes notes."""
    return MemoryReactorClock()


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Options]:
    """Parse a command line in an empty directory and environment, as a sub-command of `twistd` where told."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, environ: Mapping[str, str] = {}, twistd: Mapping[str, object] | None = None) -> Options:
        options = Options()
        options.environ = environ
        if twistd is not None:
            options.parent = UsageOptions()
            options.parent.update(twistd)
        options.parseOptions(arguments)
        return options

    return run


def test_defaults(parse: Callable[..., Options], tmp_path: Path) -> None:
    """Without flags everything has its default, and paths start where the operator stands."""
    settings = parse().resolved.settings
    assert settings.images_root == tmp_path / "images"
    assert settings.max_concurrent_bytes_requests == 64


@pytest.mark.parametrize("row", [row for row in table() if row.is_boolean], ids=lambda row: row.name)
def test_switches_have_twins(parse: Callable[..., Options], row: Any) -> None:
    """Each boolean has a flag and a `--no-…` flag, of which the last wins."""
    assert getattr(parse(row.flag).resolved.settings, row.name) is True
    assert getattr(parse(row.twin).resolved.settings, row.name) is False
    assert getattr(parse(row.flag, row.twin).resolved.settings, row.name) is False
    assert getattr(parse(row.twin, row.flag).resolved.settings, row.name) is True


def test_lists_repeat_and_split(parse: Callable[..., Options]) -> None:
    """A list grows with each flag and with each comma."""
    options = parse("--cors-origin", "https://a.test,https://b.test", "--cors-origin=https://c.test")
    assert options.resolved.settings.cors_origin == ("https://a.test", "https://b.test", "https://c.test")


def test_precedence(parse: Callable[..., Options], tmp_path: Path) -> None:
    """Flag before variable before file."""
    (tmp_path / "c.toml").write_text("max_range_bytes = 1\nmax_chunk_bytes = 1\npublic_cache_max_age_secs = 1\n")
    environ = {
        "AERO_STORAGE_MAX_RANGE_BYTES": "2",
        "AERO_STORAGE_MAX_CHUNK_BYTES": "2",
        "AERO_STORAGE_CONFIG": "c.toml",
    }
    settings = parse("--max-range-bytes=3", environ=environ).resolved.settings
    assert (settings.max_range_bytes, settings.max_chunk_bytes, settings.public_cache_max_age_secs) == (3, 2, 1)


MISTAKES = {
    "unknown flag": (["--nope"], "--nope"),
    "no argument": (["--max-range-bytes"], "--max-range-bytes"),
    "flag for an argument": (["--max-range-bytes", "--require-range"], "--max-range-bytes needs a value"),
    "argument too many": (["stray"], "'stray'"),
    "switch with a value": (["--require-range=1"], "--require-range"),
    "wrong value": (["--max-range-bytes", "0"], "flag --max-range-bytes"),
    "no such file": (["--config", "nope.toml"], "nope.toml"),
}


@pytest.mark.parametrize(("arguments", "named"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_end_in_one_line(parse: Callable[..., Options], arguments: list[str], named: str) -> None:
    """A mistake ends the process with one line that names its source; SystemExit's text goes to standard error."""
    with pytest.raises(SystemExit) as ending:
        parse(*arguments)
    assert isinstance(ending.value.code, str)
    assert named in ending.value.code
    assert "\n" not in ending.value.code


@pytest.mark.parametrize(("flag", "shown"), [("--help", "--max-range-bytes"), ("--version", "aero-storage 0.")])
def test_flags_that_only_print(
    parse: Callable[..., Options], capsys: pytest.CaptureFixture[str], flag: str, shown: str
) -> None:
    """`--help` and `--version` print and end well."""
    with pytest.raises(SystemExit) as ending:
        parse(flag)
    assert ending.value.code in (None, 0)
    assert shown in capsys.readouterr().out


def test_check_config(parse: Callable[..., Options], capsys: pytest.CaptureFixture[str]) -> None:
    """`--check-config` prints every setting with its origin, hides the token, and ends well."""
    with pytest.raises(SystemExit) as ending:
        parse("--check-config", "--metrics-auth-token=sesame", environ={"AERO_STORAGE_REQUIRE_RANGE": "on"})
    assert ending.value.code == 0
    out = capsys.readouterr().out
    assert all(row.name in out for row in table())
    assert "variable AERO_STORAGE_REQUIRE_RANGE" in out
    assert "sesame" not in out


def test_logs_where_twistd_would(parse: Callable[..., Options], tmp_path: Path) -> None:
    """JSON lines go to standard output, in the background to `twistd.log`, or to `--logfile`."""
    foreground = parse(twistd={"nodaemon": True}).log
    assert isinstance(foreground, JsonLines)
    own = {"nodaemon": True, "logfile": "own.log"}
    for twistd, name in (({}, "twistd.log"), (own, "own.log")):
        log = parse(twistd=twistd).log
        assert isinstance(log, JsonLines)
        log.event("info", "hello")
        assert '"hello"' in (tmp_path / name).read_text()
        log._sink.close()  # type: ignore[attr-defined]  # noqa: SLF001 - only a test outlives its log


@pytest.mark.parametrize("twistd", [{"logger": "a.b.c"}, {"syslog": True}], ids=str)
def test_leaves_the_log_to_an_operator_who_chose(parse: Callable[..., Options], twistd: dict[str, object]) -> None:
    """An operator's own observer, or syslog, gets the events instead."""
    assert isinstance(parse(twistd=twistd).log, TwistedLog)


def test_background_has_no_standard_output(parse: Callable[..., Options]) -> None:
    """`--logfile=-` without `--nodaemon` is a mistake."""
    with pytest.raises(SystemExit, match="--nodaemon"):
        parse(twistd={"logfile": "-"})


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody else listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def real_reactor() -> PosixReactorBase:
    from twisted.internet import reactor  # noqa: PLC0415 - the one of the tests

    assert isinstance(reactor, PosixReactorBase)
    return reactor


UNUSABLE = {
    "scheme": "foo:1",
    "number": "tcp:abc",
    "key": "ssl:0:privateKey=/nope.pem",
    "directory": "unix:/nope/socket",
    "address": "tcp:0:interface=192.0.2.1",
}


@pytest.mark.parametrize("endpoint", UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_endpoints_end_the_process(parse: Callable[..., Options], endpoint: str) -> None:
    """An endpoint that cannot be used ends the process with one line that says which."""
    with pytest.raises(SystemExit) as ending:
        makeService(parse("--endpoint", endpoint, twistd={"logger": "x"}), real_reactor())
    assert endpoint in str(ending.value.code)
    assert "flag --endpoint" in str(ending.value.code)
    assert "\n" not in str(ending.value.code)


def test_port_in_use_ends_the_process(parse: Callable[..., Options], taken_port: int) -> None:
    """A port in use ends the process, and the line says so."""
    with pytest.raises(SystemExit, match="Address already in use") as ending:
        makeService(parse(f"--listen-addr=127.0.0.1:{taken_port}", twistd={"logger": "x"}), real_reactor())
    assert "flag --listen-addr" in str(ending.value.code)


@pytest.mark.parametrize("root", ["/dev/null/x", "file"])
def test_unusable_images_root_ends_the_process(parse: Callable[..., Options], tmp_path: Path, root: str) -> None:
    """An images root that is no directory and cannot become one ends the process."""
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="images root"):
        makeService(parse("--images-root", root, twistd={"logger": "x"}), memory_reactor())


def test_default_images_root_is_made(parse: Callable[..., Options], tmp_path: Path) -> None:
    """The default images root is made if it is missing."""
    makeService(parse(twistd={"logger": "x"}), memory_reactor())
    assert (tmp_path / "images").is_dir()


def test_named_images_root_must_exist(parse: Callable[..., Options], tmp_path: Path) -> None:
    """An images root that was named is not made: a mistake in its name must not serve an empty directory."""
    with pytest.raises(SystemExit, match=r"flag --images-root: .*imagse cannot be used as images root: No such file"):
        makeService(parse("--images-root", "imagse", twistd={"logger": "x"}), memory_reactor())
    assert not (tmp_path / "imagse").exists()


@pytest.mark.parametrize(
    ("arguments", "bound"),
    [
        ([], [("0.0.0.0", 8080)]),
        (["--listen-addr=127.0.0.1:81"], [("127.0.0.1", 81)]),
        (["--listen-addr=[::1]:82"], [("::1", 82)]),
        (["--endpoint=tcp:83", "--endpoint=tcp:84:interface=127.0.0.1"], [("", 83), ("127.0.0.1", 84)]),
    ],
    ids=str,
)
def test_listens_where_it_is_told(
    parse: Callable[..., Options], arguments: list[str], bound: list[tuple[str, int]]
) -> None:
    """Endpoints replace the default address; both families and several of them work."""
    reactor = memory_reactor()
    makeService(parse(*arguments, twistd={"logger": "x"}), reactor)
    assert [(interface, port) for port, _, _, interface in reactor.tcpServers] == bound


@pytest.mark.parametrize(
    ("endpoint", "backlog"),
    [
        ("tcp:0", 1024),
        ("tcp:0:interface=127.0.0.1", 1024),
        ("tcp:0:backlog=7", 7),
        ("tcp:0:backlog=50", 50),
        (r"tcp:0:interface=127.0.0.1:backlog=7", 7),
        ("haproxy:tcp:0", 1024),
        ("haproxy:tcp:0:backlog=7", 7),
    ],
)
def test_backlog_of_an_endpoint(parse: Callable[..., Options], endpoint: str, backlog: int) -> None:
    """An endpoint that says nothing of its backlog has ours, one that does keeps its own."""
    reactor = memory_reactor()
    makeService(parse("--endpoint", endpoint), reactor)
    assert [given for _, _, given, _ in reactor.tcpServers] == [backlog]


@pytest.mark.parametrize(("endpoint", "backlog"), [("unix:/tmp/aero", 1024), ("unix:/tmp/aero:backlog=7", 7)])
def test_backlog_of_a_unix_socket(parse: Callable[..., Options], endpoint: str, backlog: int) -> None:
    """UNIX sockets likewise."""
    reactor = memory_reactor()
    makeService(parse("--endpoint", endpoint), reactor)
    assert [given for _, _, given, *_ in reactor.unixServers] == [backlog]


def test_backlog(parse: Callable[..., Options]) -> None:
    """The kernel holds 1,024 connections for us while the reactor is busy."""
    reactor = memory_reactor()
    makeService(parse(twistd={"logger": "x"}), reactor)
    ((_, _, backlog, _),) = reactor.tcpServers
    assert backlog == 1024


def test_rotation_on_sigusr1(parse: Callable[..., Options], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGUSR1 starts a new log file with the next line, in the thread that writes."""
    handlers: dict[int, Callable[..., object]] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(signal, "getsignal", handlers.get)
    log = parse(twistd={"nodaemon": True, "logfile": "own.log"}).log
    log.event("info", "before")
    handlers[signal.SIGUSR1](signal.SIGUSR1, None)
    log.event("info", "after")
    assert '"before"' in (tmp_path / "own.log.1").read_text()
    assert '"after"' in (tmp_path / "own.log").read_text()
    log._sink.close()  # type: ignore[attr-defined]  # noqa: SLF001


def test_the_dropin_names_the_service() -> None:
    """The dropin leads to this module, and importing it installs no reactor of its own."""
    from twisted.application.service import IServiceMaker  # noqa: PLC0415
    from twisted.plugin import getPlugins  # noqa: PLC0415

    makers: list[Any] = list(getPlugins(IServiceMaker))
    (maker,) = [plugin for plugin in makers if plugin.tapname == "aero-storage"]
    assert maker.module == "aero_storage.service.tap"
    assert maker.options is Options
    assert sys.modules[maker.module].makeService is makeService


def test_cache_without_a_bucket(parse: Callable[..., Options], capfd: pytest.CaptureFixture[str]) -> None:
    """A cache directory beside a directory of images is told of in one warning: nothing is cached there."""
    parse("--images-root", ".", "--cache-dir", "cache", twistd={"nodaemon": True})
    (line,) = (text for text in capfd.readouterr().out.splitlines() if "no effect" in text)
    assert "flag --cache-dir: cache_dir has no effect" in line
    parse("--images-root", "s3://images", "--cache-dir", "cache", twistd={"nodaemon": True})
    assert "no effect" not in capfd.readouterr().out


def test_leases_without_keys(parse: Callable[..., Options], capsys: pytest.CaptureFixture[str]) -> None:
    """A setting of leases has no effect without a file of keys, which is a warning; it names no file."""
    with pytest.raises(SystemExit) as ending:
        parse("--check-config", "--lease-audience=here", environ={"AERO_STORAGE_LEASE_REVOCATIONS_FILE": "none"})
    assert ending.value.code == 0
    assert capsys.readouterr().err.splitlines() == [
        f"aero-storage: {where} has no effect: leases are off without lease_keys_file"
        for where in (
            "variable AERO_STORAGE_LEASE_REVOCATIONS_FILE: lease_revocations_file",
            "flag --lease-audience: lease_audience",
        )
    ]


def test_no_warning_with_keys(
    parse: Callable[..., Options], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With a file of keys, settings of leases are as they should be."""
    (tmp_path / "keys").write_bytes(key_document(OKP))
    with pytest.raises(SystemExit) as ending:
        parse("--check-config", "--lease-audience=here", "--lease-keys-file=keys")
    assert (ending.value.code, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("arguments", [["--check-config"], ["--workers=1"], ["--workers=2"]], ids=" ".join)
def test_broken_keys_end_the_start(
    parse: Callable[..., Options], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """A broken file of keys ends the start with one line, in a check as well, and before any worker is started."""
    (tmp_path / "images").mkdir()
    (tmp_path / "keys").write_text('{"keys": []}')
    with pytest.raises(SystemExit) as ending:
        makeService(parse(*arguments, "--lease-keys-file=keys", "--listen-addr=127.0.0.1:0"), memory_reactor())
    text = str(ending.value.code)
    assert text.startswith(f"aero-storage: flag --lease-keys-file: {tmp_path / 'keys'}: there is no usable key")
    assert "\n" not in text
    assert capsys.readouterr().out == ""
