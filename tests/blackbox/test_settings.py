"""http.md §10: settings, their order of precedence, and starts that must fail."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running
from tests.blackbox.image_roots import DISK, SIZE, write
from tests.blackbox.startup_cases import CHECKED, FAILING, StartupCase, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.startup_cases import StartupRuns

MIB = 1 << 20


@pytest.mark.parametrize("name", FAILING)
def test_start_fails(failing: StartupRuns, name: str) -> None:
    """A start that cannot be ends with one line that says what is wrong and where it came from."""
    done = failing[name].result()
    said = done.stderr.decode()
    assert done.returncode != 0
    assert len(said.strip().splitlines()) == 1, said
    assert "Traceback" not in said
    for wanted in FAILING[name].names:
        assert wanted in said


@pytest.mark.parametrize("name", CHECKED)
def test_check_config(checked: StartupRuns, name: str) -> None:
    """`--check-config` ends with status 0 where the settings can be used."""
    done = checked[name].result()
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""


@pytest.mark.parametrize(
    "start",
    [FAILING["range-bytes-zero"], FAILING["variable-corp"], FAILING["file-unknown-key"]],
    ids=["flag", "variable", "file"],
)
def test_check_config_of_what_cannot_be(home: Callable[[str], Path], start: StartupCase) -> None:
    """`--check-config` fails where a start would."""
    done = run(home("check"), start, "--check-config")
    assert done.returncode != 0
    assert len(done.stderr.decode().strip().splitlines()) == 1


def test_secrets_are_not_printed(home: Callable[[str], Path]) -> None:
    """Neither `--check-config` nor an error prints the token."""
    for extra in ((), ("--max-range-bytes", "0")):
        done = run(home("secret"), StartupCase(("--metrics-auth-token", "zqsecret", *extra)), "--check-config")
        assert b"zqsecret" not in done.stdout + done.stderr


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_port_in_use(home: Callable[[str], Path], how: str) -> None:
    """A port in use ends the process with one line that names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        start = (
            StartupCase(("--listen-addr", address))
            if how == "flag"
            else StartupCase(env={"AERO_STORAGE_LISTEN_ADDR": address})
        )
        done = run(home("port"), start)
    assert done.returncode != 0
    assert len(done.stderr.decode().strip().splitlines()) == 1, done.stderr.decode()
    assert address.rpartition(":")[2] in done.stderr.decode()


def test_port_of_another_daemon(store: Daemon, home: Callable[[str], Path]) -> None:
    """A second daemon never shares the port of the first by accident."""
    done = run(home("second"), StartupCase(("--listen-addr", f"127.0.0.1:{store.port}")))
    assert done.returncode != 0
    assert len(done.stderr.decode().strip().splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_root_that_cannot_be_read(home: Callable[[str], Path]) -> None:
    """An images root that cannot be read ends the process."""
    path = home("closed")
    (path / "closed").mkdir(mode=0)
    done = run(path, StartupCase(("--images-root", "closed")))
    assert done.returncode != 0
    assert len(done.stderr.decode().strip().splitlines()) == 1


@pytest.mark.parametrize(
    "start",
    [
        StartupCase(("--images-root", "imagse"), names=("flag --images-root",)),
        StartupCase(env={"AERO_STORAGE_IMAGE_ROOT": "imagse"}, names=("variable AERO_STORAGE_IMAGE_ROOT",)),
        StartupCase(config="images_root = 'imagse'", names=("key images_root",)),
    ],
    ids=["flag", "variable", "file"],
)
def test_named_root_must_exist(home: Callable[[str], Path], start: StartupCase) -> None:
    """An images root that was named and is not there ends the process; it is not created."""
    path = home("named")
    done = run(path, start)
    said = done.stderr.decode().strip()
    assert done.returncode != 0
    assert "imagse" in said
    assert all(name in said for name in start.names)
    assert len(said.splitlines()) == 1
    assert not (path / "imagse").exists()


def test_default_root_is_made(home: Callable[[str], Path]) -> None:
    """The default root, `./images`, is created if it is not there, and lists nothing."""
    with running(home("made"), env={"AERO_STORAGE_IMAGE_ROOT": ""}) as daemon:
        assert (daemon.home / "images").is_dir()
        assert daemon.ask("/v1/images").json() == []


def test_default_root(home: Callable[[str], Path]) -> None:
    """The root is `./images` where the variable is empty, as if it were unset."""
    path = home("default-root")
    write(path / "images" / "disk.img", DISK)
    with running(path, env={"AERO_STORAGE_IMAGE_ROOT": ""}) as daemon:
        assert daemon.ask("/v1/images/disk.img").length == SIZE


FILE = """
public_cache_max_age_secs = 11
max_range_bytes = 11
require_range = true
cors_preflight_max_age_secs = 11
cors_origin = ["https://file.test", "https://both.test"]
cross_origin_resource_policy = "same-origin"
disable_metrics = true
"""
ENV = {
    "AERO_STORAGE_MAX_RANGE_BYTES": "22",
    "AERO_STORAGE_REQUIRE_RANGE": "no",
    "AERO_STORAGE_CORS_PREFLIGHT_MAX_AGE_SECS": "22",
    "AERO_STORAGE_CORS_ORIGIN": "https://env.test, https://both.test",
    "AERO_STORAGE_CROSS_ORIGIN_RESOURCE_POLICY": "",
}
FLAGS = (
    "--cors-preflight-max-age-secs=33",
    "--cors-origin=https://flag.test",
    "--no-disable-metrics",
    "--require-range",
)


def _limit(daemon: Daemon) -> int:
    sizes = (11, 22, 33, 100)
    fits = [n for n in sizes if daemon.ask("/v1/images/disk", "HEAD", {"Range": f"bytes=0-{n - 1}"}).status == 206]
    return max(fits)


def _allowed(daemon: Daemon) -> list[str]:
    origins = [f"https://{name}.test" for name in ("file", "env", "both", "flag")]
    return [o for o in origins if "access-control-allow-origin" in daemon.ask("/healthz", fields={"Origin": o}).names]


def _seen(daemon: Daemon) -> dict[str, object]:
    preflight = daemon.ask("/v1/images/disk", "OPTIONS", {"Origin": _allowed(daemon)[0]})
    image = daemon.ask("/v1/images/disk", "HEAD")
    return {
        "age": image["Cache-Control"],
        "corp": image["Cross-Origin-Resource-Policy"],
        "limit": _limit(daemon),
        "plain get": daemon.ask("/v1/images/disk").status,
        "preflight": preflight["Access-Control-Max-Age"],
        "origins": [origin.removeprefix("https://").removesuffix(".test") for origin in _allowed(daemon)],
        "metrics": daemon.ask("/metrics").status,
    }


AGE = "public, max-age=11, no-transform"
WANTED: dict[str, dict[str, object]] = {
    "file": {
        "age": AGE,
        "corp": "same-origin",
        "limit": 11,
        "plain get": 416,
        "preflight": "11",
        "origins": ["file", "both"],
        "metrics": 404,
    },
    "variable": {
        "age": AGE,
        "corp": "same-origin",
        "limit": 22,
        "plain get": 200,
        "preflight": "22",
        "origins": ["env", "both"],
        "metrics": 404,
    },
    "flag": {
        "age": AGE,
        "corp": "same-origin",
        "limit": 22,
        "plain get": 416,
        "preflight": "33",
        "origins": ["flag"],
        "metrics": 200,
    },
}


@pytest.mark.parametrize("highest", ["file", "variable", "flag"])
def test_precedence(small_home: Callable[[str], Path], highest: str) -> None:
    """A flag wins over its variable, that over the file, that over the default, each setting by itself."""
    path = small_home("precedence")
    (path / "aero.toml").write_text(FILE)
    flags = FLAGS if highest == "flag" else ()
    env = ENV if highest in {"variable", "flag"} else {}
    # Which file to read follows the same order: the flag in the last case, the variable in the others.
    chosen = ("--config", "aero.toml") if highest == "flag" else ()
    named = {"AERO_STORAGE_CONFIG": "no-such.toml" if highest == "flag" else str(path / "aero.toml")}
    with running(path, *chosen, *flags, env={**env, **named}) as daemon:
        assert _seen(daemon) == WANTED[highest]


def test_defaults(store: Daemon) -> None:
    """The defaults are the documented ones."""
    image = store.ask("/v1/images/disk", "HEAD")
    assert image["Cache-Control"] == "public, max-age=3600, no-transform"
    assert image["Cross-Origin-Resource-Policy"] == "same-site"
    assert store.ask("/v1/images/big", "HEAD", {"Range": f"bytes=0-{8 * MIB - 1}"}).status == 206
    assert store.ask("/v1/images/big", "HEAD", {"Range": f"bytes=0-{8 * MIB}"}).status == 413
    assert store.ask("/v1/images/disk", "OPTIONS")["Access-Control-Max-Age"] == "86400"
    assert store.ask("/metrics").status == 200
    assert store.ask("/v1/images/disk").status == 200


def test_endpoint(small_home: Callable[[str], Path]) -> None:
    """`--endpoint` listens at a Twisted endpoint and tells where in a `listening` line."""
    path = small_home("endpoint")
    with running(path, "--endpoint", "tcp:0:interface=127.0.0.1") as daemon:
        assert daemon.ask("/v1/images/disk").length == SIZE


def test_ends_on_sigterm(small_home: Callable[[str], Path]) -> None:
    """SIGTERM ends an idle daemon soon, with nothing on standard error."""
    with running(small_home("term")) as daemon:
        daemon.process.terminate()
        daemon.process.wait(5)
        assert (daemon.home / "stderr").read_text() == ""
        assert "Traceback" not in daemon.log_text()


def test_variables_of_the_original(home: Callable[[str], Path]) -> None:
    """A deployment of the original keeps its root, its CORS list and its version; each variable is one warning."""
    path = home("original")
    write(path / "old" / "disk.img", DISK)
    env = {
        "AERO_IMAGE_ROOT": str(path / "old"),
        "AERO_STORAGE_IMAGE_ROOT": "",
        "AERO_STORAGE_SERVER_CORS_ORIGIN": "https://a.test",
        "GIT_SHA": "abc",
    }
    with running(path, "--workers=2", env=env) as daemon:
        reply = daemon.ask("/v1/images/disk.img", "HEAD", {"Origin": "https://b.test"})
        assert (reply.length, "access-control-allow-origin" in reply.names) == (SIZE, False)
        assert daemon.ask("/version").json()["gitSha"] == "abc"
        warned = [line["message"] for line in daemon.lines() if line["level"] == "warn"]
    assert sorted(warned) == [
        "AERO_IMAGE_ROOT is the original server's name; use AERO_STORAGE_IMAGE_ROOT",
        "AERO_STORAGE_SERVER_CORS_ORIGIN is the original server's name; use AERO_STORAGE_CORS_ORIGIN",
        "GIT_SHA is the original server's name; use AERO_STORAGE_GIT_SHA",
    ]
