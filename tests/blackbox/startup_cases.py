"""Starts of the daemon that must fail, or pass `--check-config`, each with what its message must name."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from attrs import frozen
from tests.blackbox.harness import command, environment
from tests.blackbox.image_roots import small_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future
    from pathlib import Path


@frozen
class StartupCase:
    """One start of the daemon that must end by itself."""

    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    config: str | bytes | None = None
    names: tuple[str, ...] = ()
    """What the one line on standard error must name."""


def _flag(flag: str, value: str, *names: str) -> StartupCase:
    return StartupCase((flag, value), names=(flag, *names))


def _variable(name: str, value: str) -> StartupCase:
    return StartupCase(env={name: value}, names=(name,))


def _file(text: str, *names: str) -> StartupCase:
    return StartupCase(config=text, names=("aero.toml", *names))


FAILING: dict[str, StartupCase] = {
    "range-bytes-zero": _flag("--max-range-bytes", "0"),
    "range-bytes-negative": _flag("--max-range-bytes", "-1"),
    "range-bytes-words": _flag("--max-range-bytes", "many"),
    "range-bytes-empty": _flag("--max-range-bytes", ""),
    "chunk-bytes-zero": _flag("--max-chunk-bytes", "0"),
    "virtual-chunk-zero": _flag("--virtual-chunk-bytes", "0"),
    "virtual-chunk-uneven": _flag("--virtual-chunk-bytes", "1000"),
    "virtual-chunk-large": _flag("--virtual-chunk-bytes", "67109376"),
    "variable-express": _variable("AERO_STORAGE_EXPRESS", "fast"),
    "variable-virtual": _variable("AERO_STORAGE_VIRTUAL_CHUNKS", "maybe"),
    "workers-negative": _flag("--workers", "-1"),
    "workers-too-many": _flag("--workers", "129"),
    "workers-that-cannot-share": StartupCase(
        ("--workers", "2", "--endpoint", "systemd:domain=INET:index=0"), names=("flag --endpoint",)
    ),
    "bucket": _flag("--images-root", "s3://bucket/prefix", "credentials", "AWS_ACCESS_KEY_ID"),
    "bucket-in-a-variable": _variable("AERO_STORAGE_IMAGE_ROOT", "s3://bucket"),
    "bucket-with-workers": StartupCase(
        ("--workers", "2", "--images-root", "s3://bucket"), names=("flag --images-root", "credentials")
    ),
    "cache-in-a-file": StartupCase(
        ("--images-root", "s3://bucket", "--cache-dir", "file"),
        env={"AWS_SKIP_SIGNATURE": "true", "AWS_REGION": "us-east-1"},
        names=("--cache-dir", "file"),
    ),
    "bucket-with-a-password": _flag("--images-root", "s3://user:secret@bucket", "@bucket", "variables"),
    "bucket-of-another-kind": _flag("--images-root", "http://bucket", "s3://bucket/prefix"),
    "origin-timeout-zero": _flag("--origin-timeout-secs", "0"),
    "cache-block-uneven": _flag("--cache-block-bytes", "1000000", "power of two"),
    "cache-too-small": _flag("--cache-max-bytes", "1048576", "16 blocks"),
    "proxy-name": _flag("--trusted-proxy", "localhost", "localhost", "10.0.0.0/8"),
    "proxy-bits": _flag("--trusted-proxy", "10.0.0.1/8", "10.0.0.1/8", "10.0.0.0/8"),
    "variable-proxy": _variable("AERO_STORAGE_TRUSTED_PROXY", "10.0.0.0/33"),
    "file-proxy": _file("trusted_proxy = ['nginx']", "trusted_proxy"),
    "cap-negative": _flag("--max-concurrent-bytes-requests", "-1"),
    "queue-negative": _flag("--bytes-queue-timeout-secs", "-1"),
    "queue-nan": _flag("--bytes-queue-timeout-secs", "nan"),
    "queue-infinite": _flag("--bytes-queue-timeout-secs", "inf"),
    "header-timeout-zero": _flag("--header-timeout-secs", "0"),
    "idle-timeout-words": _flag("--idle-timeout-secs", "never"),
    "connections-negative": _flag("--max-connections", "-1"),
    "connections-of-a-client": _flag("--max-connections-per-client", "few"),
    "speed-negative": _flag("--max-bytes-per-second", "-1"),
    "total-speed-words": _flag("--max-total-bytes-per-second", "10MB"),
    "age-negative": _flag("--public-cache-max-age-secs", "-1"),
    "preflight-age-words": _flag("--cors-preflight-max-age-secs", "x"),
    "ids-words": _flag("--image-metrics-max-ids", "x"),
    "corp": _flag("--cross-origin-resource-policy", "everyone"),
    "open-ended": _flag("--open-ended-ranges", "maybe"),
    "log-level": _flag("--log-level", "loud"),
    "listen-no-port": _flag("--listen-addr", "127.0.0.1"),
    "listen-words": _flag("--listen-addr", "127.0.0.1:http!"),
    "listen-port": _flag("--listen-addr", "127.0.0.1:65536"),
    "listen-elsewhere": _flag("--listen-addr", "192.0.2.1:8080"),
    "endpoint": _flag("--endpoint", "nonsense:1:2:3"),
    "token-file-missing": _flag("--metrics-auth-token-file", "no-such-file"),
    "config-missing": _flag("--config", "no-such-file.toml"),
    "config-directory": _flag("--config", "."),
    "unknown-flag": StartupCase(("--no-such-flag",), names=("no-such-flag",)),
    "flag-without-value": StartupCase(("--max-range-bytes",), names=("max-range-bytes",)),
    "stray-argument": StartupCase(("stray",)),
    "root-is-a-file": StartupCase(("--images-root", "file"), names=("file",)),
    "root-below-a-file": StartupCase(("--images-root", "file/images"), names=("file/images",)),
    "root-nul": StartupCase(env={"AERO_STORAGE_IMAGE_ROOT": "/proc/no/such"}, names=("AERO_STORAGE_IMAGE_ROOT",)),
    "variable-range": _variable("AERO_STORAGE_MAX_RANGE_BYTES", "x"),
    "variable-chunk": _variable("AERO_STORAGE_MAX_CHUNK_BYTES", "-5"),
    "variable-cap": _variable("AERO_STORAGE_MAX_CONCURRENT_BYTES_REQUESTS", "x"),
    "variable-queue": _variable("AERO_STORAGE_BYTES_QUEUE_TIMEOUT_SECS", "x"),
    "variable-header-timeout": _variable("AERO_STORAGE_HEADER_TIMEOUT_SECS", "0.0"),
    "variable-idle-timeout": _variable("AERO_STORAGE_IDLE_TIMEOUT_SECS", "-1"),
    "variable-connections": _variable("AERO_STORAGE_MAX_CONNECTIONS", "x"),
    "variable-connections-of-a-client": _variable("AERO_STORAGE_MAX_CONNECTIONS_PER_CLIENT", "x"),
    "variable-corp": _variable("AERO_STORAGE_CROSS_ORIGIN_RESOURCE_POLICY", "x"),
    "variable-open-ended": _variable("AERO_STORAGE_OPEN_ENDED_RANGES", "x"),
    "variable-level": _variable("AERO_STORAGE_LOG_LEVEL", "loud"),
    "variable-listen": StartupCase(env={"AERO_STORAGE_LISTEN_ADDR": "nowhere"}, names=("AERO_STORAGE_LISTEN_ADDR",)),
    "variable-age": _variable("AERO_STORAGE_PUBLIC_CACHE_MAX_AGE_SECS", "x"),
    "variable-preflight-age": _variable("AERO_STORAGE_CORS_PREFLIGHT_MAX_AGE_SECS", "x"),
    "variable-workers": _variable("AERO_STORAGE_WORKERS", "all"),
    "variable-ids": _variable("AERO_IMAGE_METRICS_MAX_IDS", "x"),
    "variable-require-range": _variable("AERO_STORAGE_REQUIRE_RANGE", "maybe"),
    "variable-require-manifest": _variable("AERO_STORAGE_REQUIRE_MANIFEST", "2"),
    "variable-disable-metrics": _variable("AERO_STORAGE_DISABLE_METRICS", "tru"),
    "variable-config": _variable("AERO_STORAGE_CONFIG", "no-such-file.toml"),
    "file-not-toml": _file("max_range_bytes = "),
    "file-not-utf8": StartupCase(config=b"cors_origin = ['\xff']", names=("aero.toml",)),
    "file-unknown-key": _file("max_range_byte = 5", "max_range_byte"),
    "file-key-with-dashes": _file("max-range-bytes = 5", "max-range-bytes"),
    "file-table": _file("[aero]\nmax_range_bytes = 5", "aero"),
    "file-workers": _file("workers = 'two'", "workers"),
    "file-zero": _file("max_range_bytes = 0", "max_range_bytes"),
    "file-words": _file("max_range_bytes = 'x'", "max_range_bytes"),
    "file-boolean-for-number": _file("max_range_bytes = true", "max_range_bytes"),
    "file-number-for-boolean": _file("require_range = 2", "require_range"),
    "file-words-for-boolean": _file("require_range = 'maybe'", "require_range"),
    "file-number-in-list": _file("cors_origin = [5]", "cors_origin"),
    "file-corp": _file("cross_origin_resource_policy = 'x'", "cross_origin_resource_policy"),
    "file-level": _file("log_level = 'loud'", "log_level"),
}


def _booleans(*words: str) -> StartupCase:
    names = ("REQUIRE_RANGE", "REQUIRE_MANIFEST", "DISABLE_METRICS", "REQUEST_LOG")
    return StartupCase(env={f"AERO_STORAGE_{name}": word for name, word in zip(names, words, strict=True)})


CHECKED: dict[str, StartupCase] = {
    "defaults": StartupCase(),
    "every-flag": StartupCase(
        (
            *("--cors-origin", "https://a.test,https://b.test", "--cors-origin", "https://c.test"),
            *("--cross-origin-resource-policy", "same-origin", "--images-root", "images", "--require-manifest"),
            *("--log-level", "WARN", "--max-concurrent-bytes-requests", "0", "--max-range-bytes", "1"),
            *("--max-chunk-bytes", "1", "--public-cache-max-age-secs", "0", "--cors-preflight-max-age-secs", "0"),
            *("--require-range", "--disable-metrics", "--metrics-auth-token", "x", "--open-ended-ranges", "limit"),
            *("--virtual-chunks", "--virtual-chunk-bytes", "512", "--workers", "0"),
            *("--header-timeout-secs", "0.5", "--idle-timeout-secs", "5", "--max-connections", "0"),
            *("--max-connections-per-client", "8"),
            *("--trusted-proxy", "127.0.0.1,::1", "--trusted-proxy", "unix"),
            *("--max-waiting-body-bytes", "0"),
            *("--max-bytes-per-second", "9999999", "--max-total-bytes-per-second", "99999999"),
            *("--stall-timeout-secs", "0", "--drain-delay-secs", "0", "--shutdown-grace-secs", "0.5"),
            *("--bytes-queue-timeout-secs", "0", "--image-metrics-max-ids", "5", "--no-request-log"),
        )
    ),
    "twins": StartupCase(
        ("--no-require-manifest", "--no-require-range", "--no-disable-metrics", "--request-log", "--no-express")
    ),
    "empty-variables": StartupCase(
        env={
            "AERO_STORAGE_MAX_RANGE_BYTES": "",
            "AERO_STORAGE_REQUIRE_RANGE": "",
            "AERO_STORAGE_CORS_ORIGIN": "",
            "AERO_STORAGE_LOG_LEVEL": "",
            "AERO_STORAGE_CONFIG": "",
        }
    ),
    "file": StartupCase(
        config="max_range_bytes = 5\ncors_origin = ['https://a.test']\nrequire_range = true\nlog_level = 'Debug'\n"
    ),
    "file-empty": StartupCase(config=""),
    "booleans-1": _booleans("1", "0", "true", "false"),
    "booleans-2": _booleans("t", "f", "yes", "no"),
    "booleans-3": _booleans("y", "n", "on", "off"),
    "booleans-4": _booleans("TRUE", "False", "Yes", "OFF"),
}


def run(path: Path, start: StartupCase, *more: str) -> subprocess.CompletedProcess[bytes]:
    small_root(path / "images")
    (path / "file").write_text("a file")
    flags = list(start.flags)
    if start.config is not None:
        (path / "aero.toml").write_bytes(start.config if isinstance(start.config, bytes) else start.config.encode())
        flags += ["--config", str(path / "aero.toml")]
    if "--listen-addr" not in flags and "AERO_STORAGE_LISTEN_ADDR" not in start.env:
        flags += ["--listen-addr", "127.0.0.1:0"]
    return subprocess.run(
        command(path, *more, *flags),
        cwd=path,
        env=environment(start.env),
        capture_output=True,
        timeout=20,
        check=False,
    )


StartupRuns = dict[str, "Future[subprocess.CompletedProcess[bytes]]"]


def start_all(starts: dict[str, StartupCase], home: Callable[[str], Path], *more: str) -> Iterator[StartupRuns]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield {name: pool.submit(run, home("start"), start, *more) for name, start in starts.items()}
