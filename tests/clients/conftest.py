"""The real daemon on a port of its own, the images that it serves, and the clients' programs.

Fixtures give plain types (an address, a path, a process), as test modules cannot import from here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from tests.clients.nginx_proxy import (
    HOST_NAME,
    PATIENCE,
    Curl,
    NginxProxy,
    accepts,
    free_ports,
    import_test_images,
    missing_features,
    site_config,
    until,
    write_nginx_config,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TWISTD = Path(sys.executable).parent / "twistd"
COMMAND = Path(sys.executable).parent / "aero-storage"
MAKE_IMAGE = Path(__file__).parents[2] / "tools" / "demo_image.py"
# Debian keeps e2fsck out of the PATH of users who are not root.
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/sbin", "/usr/sbin"])
START_SECONDS = 20
STOP_SECONDS = 10
LOG_SECONDS = 5


def give_up(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; in CI every client must be there")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def lacking() -> Callable[[str], NoReturn]:
    """End a test that the machine cannot run: skipped on a user's machine, failed in CI."""
    return give_up


@pytest.fixture(scope="session")
def require_tool() -> Callable[..., str]:
    """Give a function that finds a program by one of its names, or ends the test as `lacking` does."""

    def find(*names: str, package: str) -> str:
        for name in names:
            if path := shutil.which(name, path=PLACES):
                return path
        give_up(f"{names[0]} is not installed (Debian: apt-get install {package})")

    return find


@pytest.fixture(scope="session")
def run_tool() -> Callable[..., str]:
    """Give a function that runs a program with a deadline and returns what it printed."""

    def run(*command: str | Path, accept: tuple[int, ...] = (0,)) -> str:
        words = [str(word) for word in command]
        environment = {**os.environ, "LC_ALL": "C", "no_proxy": "*"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in accept, f"{words} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return run


def log_lines(log: Path) -> list[dict[str, object]]:
    """Read the JSON lines that are complete by now; others (a traceback at the start) are passed over."""
    complete = log.read_text(encoding="utf-8").rpartition("\n")[0] if log.exists() else ""
    return [json.loads(line) for line in complete.splitlines() if line.startswith("{")]


def address_of(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        for line in log_lines(log):
            if line.get("message") == "listening":
                return str(line["address"])
        if process.poll() is not None:
            break
        time.sleep(0.02)
    state = "did not say in time where it listens" if process.poll() is None else f"ended with {process.returncode}"
    said = [path.read_text(encoding="utf-8") for path in (log.with_name("output"), log) if path.exists()]
    pytest.fail(f"twistd {state}:\n" + "\n".join(said))


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def start_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[str, int, Path]]]:
    """Give a function that starts the daemon on an images root: (base URL, process id, log file).

    `variables` are the credentials of an object store.
    """
    running: list[subprocess.Popen[bytes]] = []

    def start(root: Path | str, *flags: str, variables: Mapping[str, str] = {}) -> tuple[str, int, Path]:
        place = tmp_path_factory.mktemp("daemon")
        log = place / "log"
        daemon = [str(TWISTD), "--nodaemon", "--pidfile=", f"--logfile={log}", "aero-storage"]
        where = ["--images-root", str(root), "--listen-addr", "127.0.0.1:0"]
        # A developer's own settings are not what is tested here.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(
                [*daemon, *where, *flags],
                cwd=place,
                env={**environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        running.append(process)
        return f"http://{address_of(process, log)}", process.pid, log

    yield start
    for process in running:
        end(process)


@pytest.fixture(scope="session")
def operate() -> Callable[..., str]:
    """Give a function that runs `aero-storage` on an images root and returns what it printed on standard output."""

    def run(root: Path, *words: str | Path, status: int = 0) -> str:
        root.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
        command = [str(COMMAND), *map(str, words)]
        environment["AERO_STORAGE_IMAGE_ROOT"] = str(root)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def chunked_daemon(
    start_daemon: Callable[..., tuple[str, int, Path]],
    operate: Callable[..., str],
    demo_image: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """Serve the demo image in published and in virtual chunks, `published` and `virtual`; give the list's address."""
    root = tmp_path_factory.mktemp("chunked") / "images"
    for image_id in ("published", "virtual"):
        operate(root, "import", demo_image, "--id", image_id)
    operate(root, "publish", "published", "--chunk-size", "1MiB")
    return f"{start_daemon(root, '--virtual-chunks')[0]}/v1/images"


@pytest.fixture(scope="session")
def demo_image(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., str]) -> Path:
    """Make the demo image as `make run` does; it is the only file in its directory."""
    require_tool("mke2fs", package="e2fsprogs")
    root = tmp_path_factory.mktemp("images")
    subprocess.run([sys.executable, str(MAKE_IMAGE), str(root)], check=True, capture_output=True, timeout=60)
    return root / "demo.img"


@pytest.fixture(scope="session")
def demo_bytes(demo_image: Path) -> bytes:
    return demo_image.read_bytes()


@pytest.fixture(scope="session")
def text_offset(demo_bytes: bytes) -> int:
    """Tell where in the image a file's text lies: most of the rest is zeros, which prove little."""
    return demo_bytes.index(b"0 gamma-1 ")


@pytest.fixture(scope="session")
def demo_daemon(start_daemon: Callable[..., tuple[str, int, Path]], demo_image: Path) -> tuple[str, int, Path]:
    return start_daemon(demo_image.parent)


@pytest.fixture(scope="session")
def images_url(demo_daemon: tuple[str, int, Path]) -> str:
    """Give the address of the list."""
    return f"{demo_daemon[0]}/v1/images"


@pytest.fixture(scope="session")
def image_url(images_url: str) -> str:
    """Give the address of the demo image's bytes."""
    return f"{images_url}/demo.img"


@pytest.fixture(scope="session")
def logged(demo_daemon: tuple[str, int, Path]) -> Callable[[str, int], list[dict[str, object]]]:
    """Give a function that waits until requests of one id have so many log lines, and returns those."""

    def find(request_id: str, least: int) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        deadline = time.monotonic() + LOG_SECONDS
        while len(found) < least and time.monotonic() < deadline:
            found = [line for line in log_lines(demo_daemon[2]) if line.get("request_id") == request_id]
            time.sleep(0.02)
        assert len(found) >= least, f"log lines with the request id {request_id!r}: {found}"
        return found

    return find


@pytest.fixture(scope="session")
def nginx_and_curl(require_tool: Callable[..., str], lacking: Callable[[str], object]) -> tuple[str, str]:
    """Programs: nginx with the slice module and curl with HTTP/2."""
    nginx, curl = require_tool("nginx", package="nginx-light"), require_tool("curl", package="curl")
    if reason := missing_features(nginx, curl):
        lacking(reason)
    return nginx, curl


@pytest.fixture(scope="session")
def certificate(
    require_tool: Callable[..., str], run_tool: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A directory with key.pem and cert.pem, signed by itself."""
    place = tmp_path_factory.mktemp("certificate")
    openssl = require_tool("openssl", package="openssl")
    kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    names = ("-subj", f"/CN={HOST_NAME}", "-addext", f"subjectAltName=DNS:{HOST_NAME}")
    run_tool(openssl, "req", *kind, *names, "-keyout", place / "key.pem", "-out", place / "cert.pem")
    return place


@pytest.fixture(scope="session")
def start_nginx(
    nginx_and_curl: tuple[str, str], certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., tuple[Curl, int]]]:
    """Give a function that starts nginx with one of the files before upstreams: curl for it, and its plain port."""
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str, *upstreams: str) -> tuple[Curl, int]:
        place, ports = tmp_path_factory.mktemp("nginx"), free_ports(2)
        write_nginx_config(place, site_config(name, place, certificate, upstreams, ports))
        errors = place / "error.log"
        command = [nginx_and_curl[0], "-e", str(errors), "-p", str(place), "-c", str(place / "nginx.conf")]
        running.append(process := subprocess.Popen(command, stdin=subprocess.DEVNULL))

        def is_up() -> bool:
            assert process.poll() is None, errors.read_text(encoding="utf-8")
            return accepts(ports[1])

        until(is_up, "nginx to listen")
        trust = ("--http2", "--cacert", str(certificate / "cert.pem"))
        found = ("--resolve", f"{HOST_NAME}:{ports[1]}:127.0.0.1")
        return Curl(nginx_and_curl[1], place, f"https://{HOST_NAME}:{ports[1]}", trust + found), ports[0]

    yield start
    for process in running:
        process.terminate()
    for process in running:
        process.wait(PATIENCE)


@pytest.fixture(scope="session")
def proxied_root(operate: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the images root of `import_test_images`."""
    place = tmp_path_factory.mktemp("proxy")
    import_test_images(place, operate)
    return place / "images"


@pytest.fixture(scope="session")
def start_proxied_daemon(
    start_nginx: Callable[..., tuple[Curl, int]],
    start_daemon: Callable[..., tuple[str, int, Path]],
    proxied_root: Path,
) -> Callable[..., NginxProxy]:
    """Give a function that starts a daemon with these flags, and nginx with the file `name` in front of it."""

    def start(name: str, *flags: str) -> NginxProxy:
        url, _, log = start_daemon(proxied_root, "--trusted-proxy", "127.0.0.1", *flags)
        curl, port = start_nginx(name, url.removeprefix("http://"))
        (curl.place / "direct").mkdir()
        direct = Curl(curl.path, curl.place / "direct", url)
        return NginxProxy(curl, direct, proxied_root, log, port, is_cache="cache" in name)

    return start


@pytest.fixture(scope="session")
def private_image(operate: Callable[..., str], demo_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an images root with a private image, `win98`; the files of keys are beside it."""
    place = tmp_path_factory.mktemp("private")
    root, issuer = place / "images", place / "issuer.json"
    operate(root, "import", demo_image, "--id", "win98", "--private")
    operate(root, "lease", "keys", "new", "--keys", issuer)
    operate(root, "lease", "keys", "public", "--keys", issuer, "--out", place / "keys.json")
    return root
