"""What settings there are, where they come from, and how a wrong one is told."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import attrs
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from aero_storage.chunks.manifest import MAX_CHUNK_SIZE, SECTOR
from aero_storage.errors import SettingsError
from aero_storage.settings import (
    ListenAddress,
    OriginUrl,
    Resolved,
    Setting,
    Settings,
    describe,
    effective,
    markdown_table,
    resolve,
    table,
    usage,
)

SAMPLE = Path(__file__).parents[1] / "etc" / "aero-storage.toml"
CWD = Path("/nowhere")
ROWS = {row.name: row for row in table()}
SECRET = "s3cret-Token_of-the-operator"
HUGE = 2**63 - 1
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# One text per setting and level of precedence, all different from each other and from the default.
LEVELS = {
    "virtual_chunk_bytes": ["512", "1024", "1536"],
    "listen_addr": ["127.0.0.1:1", "[::1]:2", "localhost:3"],
    "endpoint": ["tcp:1", "tcp:2", "tcp:3"],
    "trusted_proxy": ["192.0.2.1", "10.0.0.0/8", "unix"],
    "cors_origin": ["https://a.example", "https://b.example:8443", "null"],
    "cross_origin_resource_policy": ["same-origin", "cross-origin", "same-origin"],
    "images_root": ["/a", "/b", "/c"],
    "log_level": ["debug", "warn", "critical"],
    "bytes_queue_timeout_secs": ["0", "2.5", "3"],
    "stall_timeout_secs": ["0", "2.5", "3"],
    "drain_delay_secs": ["0", "2.5", "3"],
    "shutdown_grace_secs": ["0", "2.5", "3"],
    "header_timeout_secs": ["0.5", "2", "3"],
    "idle_timeout_secs": ["0.5", "2", "3"],
    "open_ended_ranges": ["limit", "stream", "limit"],
    "metrics_auth_token": ["one", "two", "three"],
    "origin_timeout_secs": ["0.5", "2", "3"],
    "origin_refresh_secs": ["0.5", "2", "3"],
    "origin_stale_secs": ["0", "2.5", "3"],
    "cache_dir": ["/a", "/b", "/c"],
    "page_parts": ["/a", "/b", "/c"],
    "cache_max_bytes": ["16777216", "16777217", "16777218"],
    "cache_block_bytes": ["65536", "131072", "262144"],
    "lease_keys_file": ["/a", "/b", "/c"],
    "lease_revocations_file": ["/a", "/b", "/c"],
    "lease_audience": ["one", "two", "three"],
    "lease_max_lifetime_secs": ["0.5", "2", "3"],
    "lease_leeway_secs": ["0", "2.5", "3"],
    "lease_stream_grace_secs": ["0", "2.5", "3"],
}
# What a level says must show even where two values are all there are: neighbouring levels differ.
DEFAULT_LEVELS = {"boolean": ["true", "false", "true"], "integer": ["7", "8", "9"]}


def levels_of(row: Setting) -> list[str]:
    if row.is_boolean and row.default == "true":
        return ["false", "true", "false"]
    return LEVELS.get(row.name) or DEFAULT_LEVELS[row.kind]


def toml_of(row: Setting, text: str) -> str:
    if row.is_list:
        return json.dumps(text.split(","))
    return json.dumps(text) if row.kind == "string" else text


def written(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def refusal(given: dict[str, list[str]], environ: dict[str, str] | None = None, cwd: Path = CWD) -> str:
    with pytest.raises(SettingsError) as caught:
        resolve(given, environ or {}, cwd)
    message = str(caught.value)
    assert not CONTROL.search(message)
    return message


def from_flag(name: str, *texts: str) -> object:
    return getattr(resolve({name: list(texts)}, {}, CWD).settings, name)


PRECEDENCE = [row for row in table() if row.name != "metrics_auth_token_file"]


@pytest.mark.parametrize("row", PRECEDENCE, ids=lambda row: row.name)
def test_precedence(row: Setting, tmp_path: Path) -> None:
    """A flag wins over the variable, the variable over the file, the file over the default, and each is named."""
    flag, variable, key = levels_of(row)
    config = written(tmp_path / "a.toml", f"{row.key} = {toml_of(row, key)}")
    everywhere = ({row.name: [flag], "config": [config]}, {row.variable: variable})
    no_flag = ({"config": [config]}, everywhere[1])
    cases = [
        (*everywhere, flag, f"flag {row.twin if flag == 'false' else row.flag}"),
        (*no_flag, variable, f"variable {row.variable}"),
        ({"config": [config]}, {}, key, f"{config}, key {row.key}"),
        ({}, {}, row.default, "default"),
    ]
    for given, environ, text, origin in cases:
        resolved = resolve(given, environ, CWD)
        expected = from_flag(row.name, text) if text else getattr(Settings(), row.name)
        assert getattr(resolved.settings, row.name) == expected
        assert resolved.origins[row.name] == origin
        assert {name for name, said in resolved.origins.items() if said != "default"} <= {row.name}


def test_precedence_of_the_token_file(tmp_path: Path) -> None:
    """The token's file, too, is looked for in flag, variable and file, in this order."""
    for level in ("flag", "variable", "key"):
        (tmp_path / level).write_text(f"token-of-{level}", encoding="ascii")
    config = written(tmp_path / "a.toml", 'metrics_auth_token_file = "key"')
    flag, variable = {"metrics_auth_token_file": ["flag"]}, {"AERO_STORAGE_METRICS_AUTH_TOKEN_FILE": "variable"}
    for given, environ, level in ((flag, variable, "flag"), ({}, variable, "variable"), ({}, {}, "key")):
        resolved = resolve({**given, "config": [config]}, environ, tmp_path)
        assert resolved.settings.metrics_auth_token == f"token-of-{level}"
        assert resolved.settings.metrics_auth_token_file == tmp_path / level


def test_defaults() -> None:
    """Without flags, variables and file every setting has the documented default, and paths are absolute."""
    resolved = resolve({}, {}, CWD)
    assert resolved.config_file is None
    assert set(resolved.origins.values()) == {"default"}
    assert resolved.settings == Settings(
        listen_addr=ListenAddress("0.0.0.0", 8080),
        endpoint=(),
        trusted_proxy=(),
        workers=1,
        cors_origin=(),
        cross_origin_resource_policy="same-site",
        images_root=CWD / "images",
        require_manifest=False,
        log_level="info",
        request_log=True,
        max_concurrent_bytes_requests=64,
        bytes_queue_timeout_secs=1.0,
        max_range_bytes=8 << 20,
        max_chunk_bytes=8 << 20,
        open_ended_ranges="stream",
        public_cache_max_age_secs=3600,
        cors_preflight_max_age_secs=86400,
        require_range=False,
        disable_metrics=False,
        metrics_auth_token=None,
        metrics_auth_token_file=None,
        image_metrics_max_ids=100,
        origin_timeout_secs=20.0,
        origin_refresh_secs=5.0,
        origin_stale_secs=3600.0,
        cache_dir=None,
        page_parts=None,
        cache_max_bytes=10 << 30,
        cache_block_bytes=1 << 20,
        lease_keys_file=None,
        lease_revocations_file=None,
        lease_audience=None,
        lease_max_lifetime_secs=86400.0,
        lease_leeway_secs=30.0,
        lease_stream_grace_secs=3600.0,
        lease_failures_per_sec=10,
        max_streams_per_lease=0,
        max_bytes_per_second_per_lease=0,
    )


@pytest.mark.parametrize("row", table(), ids=lambda row: row.name)
def test_names(row: Setting) -> None:
    """Flag, variable and key follow from the name, but for the two variables that the seed named otherwise."""
    exceptions = {"images_root": "AERO_STORAGE_IMAGE_ROOT", "image_metrics_max_ids": "AERO_IMAGE_METRICS_MAX_IDS"}
    assert row.flag == "--" + row.name.replace("_", "-")
    assert row.variable == exceptions.get(row.name, "AERO_STORAGE_" + row.name.upper())
    assert row.key == row.name
    assert row.twin == (f"--no-{row.flag[2:]}" if row.is_boolean else "")
    assert row.is_boolean == isinstance(getattr(Settings(), row.name), bool)
    assert row.is_list == isinstance(getattr(Settings(), row.name), tuple)
    assert row.is_boolean or row.metavar
    assert row.help.endswith(".")


def test_values_are_frozen() -> None:
    """What was resolved cannot be changed by anyone."""
    resolved = resolve({}, {}, CWD)
    frozen: list[tuple[object, str]] = [
        (resolved, "settings"),
        (resolved.settings, "log_level"),
        (table()[0], "flag"),
    ]
    for value, name in frozen:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, name, None)
    with pytest.raises(TypeError):
        resolved.origins["log_level"] = "me"  # type: ignore[index]


GOOD = [
    ("listen_addr", "0.0.0.0:0", ListenAddress("0.0.0.0", 0)),
    ("listen_addr", "host-1.example:65535", ListenAddress("host-1.example", 65535)),
    ("listen_addr", "[::]:00080", ListenAddress("::", 80)),
    ("listen_addr", "[fe80::1%eth0]:80", ListenAddress("fe80::1%eth0", 80)),
    ("listen_addr", "[::ffff:1.2.3.4]:80", ListenAddress("::ffff:1.2.3.4", 80)),
    ("trusted_proxy", "192.0.2.7,10.0.0.0/8", ("192.0.2.7", "10.0.0.0/8")),
    ("trusted_proxy", "2001:DB8:0::/32,::1", ("2001:db8::/32", "::1")),
    ("trusted_proxy", "UNIX", ("unix",)),
    ("cors_origin", "*", ("*",)),
    ("cors_origin", "null", ("null",)),
    ("cors_origin", "http://localhost:5173/", ("http://localhost:5173/",)),
    ("cors_origin", "chrome-extension://abc,http://[::1]:80", ("chrome-extension://abc", "http://[::1]:80")),
    ("log_level", "WARN", "warn"),
    ("log_level", " Critical\t", "critical"),
    ("max_concurrent_bytes_requests", "0", 0),
    ("workers", "0", 0),
    ("workers", "128", 128),
    ("max_range_bytes", "1", 1),
    ("max_range_bytes", "\r\n 0008 ", 8),
    ("max_range_bytes", "none", None),
    ("max_range_bytes", " None ", None),
    ("max_range_bytes", str(HUGE), HUGE),
    ("public_cache_max_age_secs", "0", 0),
    ("bytes_queue_timeout_secs", "0", 0.0),
    ("bytes_queue_timeout_secs", "0.25", 0.25),
    ("bytes_queue_timeout_secs", "10.0", 10.0),
    ("images_root", "a b\n/c", CWD / "a b\n/c"),
    ("images_root", " /x ", Path("/x")),
    ("images_root", "../x", CWD / "../x"),
    ("images_root", " S3://my.bucket/a b/c/ ", OriginUrl("s3", "my.bucket", "a b/c")),
    ("images_root", "gs://my_bucket", OriginUrl("gs", "my_bucket", "")),
    ("images_root", "az://container/ä", OriginUrl("az", "container", "ä")),
    ("cache_dir", "cache", CWD / "cache"),
    ("page_parts", "parts", CWD / "parts"),
    ("cache_block_bytes", "16777216", 16 << 20),
    ("origin_stale_secs", "0", 0.0),
    ("metrics_auth_token", " !~ ", "!~"),
    ("lease_keys_file", "keys.json", CWD / "keys.json"),
    ("lease_audience", " https://images.example ", "https://images.example"),
    ("lease_leeway_secs", "0", 0.0),
    ("lease_failures_per_sec", "0", 0),
    *[("require_manifest", word, True) for word in ("1", "true", "T", "yes", "Y", "oN", " TRUE ")],
    *[("request_log", word, False) for word in ("0", "FALSE", "f", "No", "n", "OFF")],
]


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_texts_that_are_fine(name: str, text: str, value: object) -> None:
    """A text within the rules means the same in a flag and in a variable."""
    assert from_flag(name, text) == value
    assert getattr(resolve({}, {ROWS[name].variable: text}, CWD).settings, name) == value


BAD_INTEGERS = [
    "",
    " ",
    "1_000",
    "+8",
    "-1",
    "8.0",
    "8e3",
    "0x8",
    "8 8",
    "٣",
    "²",
    "\u00a08",
    str(HUGE + 1),
    "9" * 5000,
]
BAD_ADDRESSES = [
    "", "8080", ":8080", "host", "host:", "host:-1", "host:+1", "host:65536", "host:999999", "host:٣", "host:http",
    "::1:80", "::1", "[::1]", "[::1]80", "[]:80", "[::1:80", "::1]:80", "[1.2.3.4]:80", "[:::]:80", "[host]:80",
    "[fe80::1%]:80", "1.2.3:80", "300.1.1.1:80", "..:80", "a b:80", "http://host:80", "hôst:80", "host:80/", "a,b:80",
]  # fmt: skip
BAD_ORIGINS = [
    "example.com", "https://", "https:/a", "//a", "https://a/b", "https://a//", "https://a?x", "https://a#x", "**",
    "https://a b", "https://ä.example", "https://u@a", "https://*.example.com", "1http://a", "https://a:port",
    "https:a", "https://a\nb", "nul",
]  # fmt: skip
BAD_PROXIES = [
    "localhost", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/255.0.0.0", "10.0.0.1/8", "10.0.0", "010.0.0.1", "10.0.0.0/",
    "[::1]", "::/129", "2001:db8::1/32", "fe80::1%eth0", "*", "unix:/run/nginx", "all", "٣.0.0.1", "10.0.0.1:80",
]  # fmt: skip
BAD_URLS = [
    "http://bucket/x", "file:///srv/images", "s3://", "s3:///x", "s3://ab/x", "s3://Bucket/x", "s3://bu_cket/x",
    "s3://bucket:80/x", "s3://-bucket/x", "s3://bucket//x", "s3://bucket/x/../y", "s3://bucket/./x", "s3://bucket/x\ny",
    "az://con.tainer", "az://a--b", "s3a://bucket/x", f"s3://bucket/{'x' * 513}",
]  # fmt: skip
BAD = [
    *[("trusted_proxy", text) for text in BAD_PROXIES],
    *[("listen_addr", text) for text in BAD_ADDRESSES],
    *[("cors_origin", text) for text in BAD_ORIGINS],
    *[("max_range_bytes", text) for text in [*BAD_INTEGERS, "0"]],
    *[("max_chunk_bytes", text) for text in ["0", "eight"]],
    *[("workers", text) for text in ["-1", "129", "auto"]],
    *[("max_concurrent_bytes_requests", text) for text in BAD_INTEGERS],
    *[("public_cache_max_age_secs", text) for text in ["-1", "1.5"]],
    *[("cors_preflight_max_age_secs", text) for text in ["-1", "a day"]],
    *[("image_metrics_max_ids", text) for text in ["-1", "all"]],
    *[
        ("bytes_queue_timeout_secs", t)
        for t in ["", "-1", ".5", "1.", "1e3", "inf", "nan", "1,5", "1_0", "٣", "9" * 400]
    ],
    *[("require_manifest", text) for text in ["", "2", "maybe", "tru", "ye\u017f", "truefalse"]],
    *[("cross_origin_resource_policy", text) for text in ["", "none", "Same-Site", "same-site, cross-origin"]],
    *[("open_ended_ranges", text) for text in ["", "Stream", "none"]],
    *[("log_level", text) for text in ["", "warning", "trace", "2"]],
    *[("endpoint", text) for text in ["tcp:\x00", "unix:/a\nb"]],
    *[("images_root", text) for text in ["", " ", "a\0b"]],
    *[("images_root", text) for text in BAD_URLS],
    *[("cache_block_bytes", text) for text in ["0", "32768", "65537", "33554432", "1MiB"]],
    *[("cache_max_bytes", text) for text in ["0", "10G"]],
    *[("cache_dir", text) for text in ["", "a\0b"]],
    *[("page_parts", text) for text in ["", "a\0b"]],
    *[(f"origin_{name}_secs", text) for name in ("timeout", "refresh") for text in ["0", "-1", "1e1"]],
    ("origin_stale_secs", "none"),
    *[("metrics_auth_token_file", text) for text in ["", "a\0b"]],
    *[(f"lease_{name}_file", text) for name in ("keys", "revocations") for text in ["", "a\0b"]],
    *[("lease_audience", text) for text in ["", "a b", "dä"]],
    *[("lease_max_lifetime_secs", text) for text in ["0", "-1", "1e1", "1d"]],
    *[("lease_failures_per_sec", text) for text in ["-1", "0.5", "none"]],
    *[("metrics_auth_token", text) for text in ["", "a b", "a\tb", "tökén", "\u00a0a", "a\x7f", "a\0"]],
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_texts_that_are_refused(name: str, text: str, tmp_path: Path) -> None:
    """A wrong text is refused in one line that names where it came from, what it was and what would be right."""
    row = ROWS[name]
    shown = "the value (not shown)" if row.is_secret else repr(text.strip(" \t\r\n"))[:70]
    about_flag = refusal({name: [text]})
    assert about_flag.startswith(f"flag {row.flag}: {shown}")
    assert " is not " in about_flag
    if text.strip():
        assert refusal({}, {row.variable: text}) == about_flag.replace(f"flag {row.flag}", f"variable {row.variable}")
    if row.kind in {"string", "array of strings"}:
        config = written(tmp_path / "a.toml", f"{name} = {json.dumps(text)}")
        assert refusal({"config": [config]}) == about_flag.replace(f"flag {row.flag}", f"{config}, key {name}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://user:zqsecret@bucket/x", "'s3://…@bucket/x'"),
        ("s3://zqsecret@bucket/x", "'s3://…@bucket/x'"),
        ("az://container/x?sig=zqsecret", "'az://container/x?…'"),
        ("s3://bucket/x#zqsecret", "'s3://bucket/x#…'"),
        ("s3://user:zq?secret@bucket/x", "'s3://…'"),
    ],
)
def test_credentials_in_an_images_root(url: str, shown: str) -> None:
    """A URL with a user, a password, a query or a fragment is refused, in a line without them."""
    message = refusal({"images_root": [url]})
    assert "secret" not in message
    assert message.startswith(f"flag --images-root: {shown} is not a directory, or s3://")
    assert "credentials belong in the store's variables" in message


def test_a_cache_of_few_blocks() -> None:
    """A cache that holds fewer than 16 blocks is refused, with the source of its limit."""
    given = {"cache_block_bytes": ["1048576"], "cache_max_bytes": ["16777215"]}
    message = refusal(given)
    assert message == "flag --cache-max-bytes: 16777215 is less than 16 blocks of the cache, 16777216"
    assert from_flag("cache_max_bytes", "16777216") == 16 << 20


def test_image_directory() -> None:
    """A directory is asked for where an object store will not do."""
    assert resolve({}, {}, CWD).settings.image_directory == CWD / "images"
    settings = resolve({"images_root": ["s3://bucket/x"]}, {}, CWD).settings
    with pytest.raises(SettingsError, match="s3://bucket/x is in an object store"):
        assert settings.image_directory


def test_no_line_is_broken_or_long() -> None:
    """A value echoed is cut short and its control characters are escaped."""
    message = refusal({"log_level": ["x\ny" * 1000]})
    assert "'x\\nyx\\ny" in message
    assert len(message) < 200
    assert "\\n" in refusal({"config": ["a\nb.toml"]})


@pytest.mark.parametrize("row", table(), ids=lambda row: row.name)
def test_empty_variable_is_unset(row: Setting) -> None:
    """An empty or blank variable says nothing, whatever its setting."""
    for text in ("", " ", "\t\n"):
        assert resolve({}, {row.variable: text, "AERO_STORAGE_CONFIG": text}, CWD) == resolve({}, {}, CWD)


@pytest.mark.parametrize("row", [row for row in table() if row.is_boolean], ids=lambda row: row.name)
def test_twins(row: Setting) -> None:
    """Of a boolean's flag and its --no- twin the last one counts, and is the one that is named."""
    for last, first, flag in (("true", "false", row.flag), ("false", "true", row.twin)):
        resolved = resolve({row.name: [first, last]}, {row.variable: first}, CWD)
        assert getattr(resolved.settings, row.name) is (last == "true")
        assert resolved.origins[row.name] == f"flag {flag}"


def test_the_last_flag_wins() -> None:
    """A flag that takes one value and is given twice means the second, but the first must be right, too."""
    assert from_flag("max_range_bytes", "1", "2") == 2
    assert "'x'" in refusal({"max_range_bytes": ["x", "2"]})


@pytest.mark.parametrize(
    ("texts", "items"),
    [
        (["tcp:1"], ("tcp:1",)),
        (["tcp:1", "tcp:2"], ("tcp:1", "tcp:2")),
        (["tcp:1,tcp:2", "tcp:3"], ("tcp:1", "tcp:2", "tcp:3")),
        ([" tcp:1 , ,tcp:2,", ""], ("tcp:1", "tcp:2")),
    ],
)
def test_lists(texts: list[str], items: tuple[str, ...], tmp_path: Path) -> None:
    """A list is its flag repeated or its items with commas between; a TOML array or string says the same."""
    assert from_flag("endpoint", *texts) == items
    assert resolve({}, {"AERO_STORAGE_ENDPOINT": ",".join(texts)}, CWD).settings.endpoint == items
    for value in (texts, ",".join(texts)):
        config = written(tmp_path / "a.toml", f"endpoint = {json.dumps(value)}")
        assert resolve({"config": [config]}, {}, CWD).settings.endpoint == items


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_a_list_of_nothing_is_an_error(text: str) -> None:
    """A list given without any value is a mistake: an allowlist of nothing must not let everybody in."""
    with pytest.raises(SettingsError, match=r"flag --cors-origin: .* holds no value"):
        from_flag("cors_origin", text)


def test_a_weaker_wrong_value_is_refused_too(tmp_path: Path) -> None:
    """A wrong value does not hide behind a stronger source."""
    config = written(tmp_path / "a.toml", "max_range_bytes = 0")
    assert refusal({"log_level": ["info"]}, {"AERO_STORAGE_LOG_LEVEL": "loud"}).startswith("variable ")
    assert refusal({"max_range_bytes": ["1"], "config": [config]}).startswith(f"{config}, key max_range_bytes: '0' ")


def test_settings_of_0_1() -> None:
    """A file with every key of 0.1 is taken as it is, without a warning."""
    old = Path(__file__).parent / "data" / "settings-0.1.toml"
    resolved = resolve({"config": [str(old)]}, {}, CWD)
    assert resolved.warnings == ()
    assert resolved.settings.workers == 2
    assert resolved.settings.images_root == Path("/srv/images")


TOML_GOOD = [
    ("max_range_bytes = 8", 8),
    ('max_range_bytes = "none"', None),
    ("max_range_bytes = 1_000", 1000),
    ("max_range_bytes = 0xff", 255),
    ("bytes_queue_timeout_secs = 2", 2.0),
    ("bytes_queue_timeout_secs = 0.1", 0.1),
    ("bytes_queue_timeout_secs = 1e-9", 1e-9),
    ("bytes_queue_timeout_secs = 1e9", 1e9),
    ("require_manifest = true", True),
    ("request_log = false", False),
    ("endpoint = []", ()),
    ('log_level = "WARN"', "warn"),
]


@pytest.mark.parametrize(("line", "value"), TOML_GOOD)
def test_toml_values_that_are_fine(line: str, value: object, tmp_path: Path) -> None:
    """The file's values keep TOML's types."""
    resolved = resolve({"config": [written(tmp_path / "a.toml", line)]}, {}, CWD)
    assert getattr(resolved.settings, line.split(" ", 1)[0]) == value


TOML_BAD = [
    ('max_range_bytes = "8"', "'8' is not a TOML integer"),
    ('max_range_bytes = "some"', "'some' is not a TOML integer"),
    ('max_chunk_bytes = "none"', "'none' is not a TOML integer"),
    ("max_range_bytes = 8.0", "8.0 is not a TOML integer"),
    ("max_range_bytes = true", "True is not a TOML integer"),
    ("max_range_bytes = [8]", "[8] is not a TOML integer"),
    ("max_range_bytes = 0", "'0' is not a whole number from 1"),
    ("max_concurrent_bytes_requests = -1", "'-1' is not a whole number from 0"),
    (f"max_range_bytes = {HUGE + 1}", "is not a whole number"),
    (f"max_range_bytes = 0x{'f' * 5000}", "is not a whole number"),
    (f"log_level = 0x{'f' * 5000}", "a huge number is not a TOML string"),
    ("bytes_queue_timeout_secs = inf", "is not a decimal number"),
    ("bytes_queue_timeout_secs = nan", "is not a decimal number"),
    ("bytes_queue_timeout_secs = -0.5", "is not a decimal number"),
    ("bytes_queue_timeout_secs = true", "True is not a TOML number"),
    ('bytes_queue_timeout_secs = "1"', "'1' is not a TOML number"),
    (f"bytes_queue_timeout_secs = 1{'0' * 400}", "is not a decimal number"),
    ("require_manifest = 1", "1 is not a TOML boolean"),
    ('require_manifest = "true"', "'true' is not a TOML boolean"),
    ("log_level = 3", "3 is not a TOML string"),
    ('images_root = ["a"]', "['a'] is not a TOML string"),
    ("images_root = 2026-01-01", "is not a TOML string"),
    ("endpoint = 8080", "8080 is not a TOML array of strings"),
    ('endpoint = ["tcp:1", 2]', "['tcp:1', 2] is not a TOML array of strings"),
    ('cors_origin = [["*"]]', "[['*']] is not a TOML array of strings"),
    ("cors_origin = {}", "{} is not a TOML array of strings"),
    ("metrics_auth_token = 5317", "the value (not shown) is not a TOML string"),
]


@pytest.mark.parametrize(("line", "fault"), TOML_BAD)
def test_toml_values_that_are_refused(line: str, fault: str, tmp_path: Path) -> None:
    """A value of the wrong type or size is refused by file and key."""
    config = written(tmp_path / "a.toml", line)
    message = refusal({"config": [config]})
    assert message.startswith(f"{config}, key {line.split(' ', 1)[0]}: ")
    assert fault in message
    assert "5317" not in message


@pytest.mark.parametrize(
    ("key", "closest"),
    [
        ("max_range_byte", "max_range_bytes"),
        ("max-range-bytes", "max_range_bytes"),
        ("image_root", "images_root"),
        ("config", ""),
        ("zzz", ""),
        ('"log\\nlevel"', "log_level"),
    ],
)
def test_unknown_key(key: str, closest: str, tmp_path: Path) -> None:
    """A key that is no setting's is refused, with the known key that is closest to it."""
    config = written(tmp_path / "a.toml", 'log_level = "info"', f"{key} = 1")
    message = refusal({"config": [config]})
    assert message.startswith(f"{config}, key '{key.strip(chr(34))}': ")
    named = message.partition("the closest is ")[2].split(" or ")
    assert set(named) <= set(ROWS)
    assert not closest or named[0] == closest


def test_unknown_table(tmp_path: Path) -> None:
    """Keys live at the top level; a table is an unknown key, whatever it holds."""
    message = refusal({"config": [written(tmp_path / "a.toml", "[server]", 'log_level = "info"')]})
    assert "key 'server'" in message


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'log_level = "info"\nlog_level\n', "line 2"),
        (b"log_level = 'a'\nlog_level = 'b'\n", "line 2"),
        (b"# fine\n# \xff\n", "not UTF-8 (at line 2)"),
        (b"endpoint = " + b"[" * 20_000, "not TOML: "),
        (b"max_range_bytes = " + b"1" * 5000, "not TOML: "),
        (b"#" * (2**20 + 1), "longer than 1048576 bytes"),
    ],
    ids=["syntax", "twice", "encoding", "deep", "digits", "long"],
)
def test_files_that_are_no_toml(content: bytes, fault: str, tmp_path: Path) -> None:
    """A file that cannot be understood is refused by name, by who named it, and by line where there is one."""
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    assert refusal({"config": ["a.toml"]}, {}, tmp_path).startswith(f"{path}, named by flag --config: ")
    assert fault in refusal({}, {"AERO_STORAGE_CONFIG": "a.toml"}, tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.toml", "No such file or directory"), (".", "Is a directory"), ("x" * 5000, "File name too long")],
)
def test_files_that_cannot_be_read(name: str, reason: str, tmp_path: Path) -> None:
    """A file that is missing or no file is refused with the system's reason, for settings and token alike."""
    for_config = refusal({}, {"AERO_STORAGE_CONFIG": name}, tmp_path)
    assert for_config == f"{tmp_path / name}, named by variable AERO_STORAGE_CONFIG: cannot be read: {reason}"
    for_token = refusal({"metrics_auth_token_file": [name]}, {}, tmp_path)
    assert for_token == f"{tmp_path / name}, named by flag --metrics-auth-token-file: cannot be read: {reason}"


def test_config_flag_wins(tmp_path: Path) -> None:
    """--config wins over AERO_STORAGE_CONFIG, and an empty --config is an error, not none."""
    config = written(tmp_path / "a.toml", "max_range_bytes = 5")
    resolved = resolve({"config": ["a.toml"]}, {"AERO_STORAGE_CONFIG": "missing.toml"}, tmp_path)
    assert resolved.settings.max_range_bytes == 5
    assert resolved.config_file == Path(config)
    assert refusal({"config": [""]}).startswith("flag --config: '' is not a path")


def test_relative_paths(tmp_path: Path) -> None:
    """Relative paths start at the directory given, not at the file's, and symbolic links stay as they are."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "etc")
    (tmp_path / "token").write_text("t", encoding="ascii")
    written(tmp_path / "etc/a.toml", 'images_root = "link/../images"', 'metrics_auth_token_file = "token"')
    resolved = resolve({"config": ["link/a.toml"]}, {}, tmp_path)
    assert resolved.config_file == tmp_path / "link/a.toml"
    assert resolved.settings.images_root == tmp_path / "link/../images"
    assert resolved.settings.metrics_auth_token_file == tmp_path / "token"
    assert resolve({}, {}, tmp_path).settings.images_root == tmp_path / "images"


def with_token_file(path: Path, content: bytes) -> Resolved:
    path.write_bytes(content)
    return resolve({"metrics_auth_token_file": [str(path)]}, {}, CWD)


def test_token_file(tmp_path: Path) -> None:
    """The token is the file's content without the white space around it, and its origin says so."""
    path = tmp_path / "token"
    for content in (b"tok", b"\n tok\r\n\t", b"tok".ljust(4096)):
        resolved = with_token_file(path, content)
        assert resolved.settings.metrics_auth_token == "tok"
        assert resolved.origins["metrics_auth_token"] == f"{path}, named by flag --metrics-auth-token-file"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n",
        f"{SECRET} {SECRET}".encode(),
        f"{SECRET}\0".encode(),
        f"{SECRET}é".encode(),
        f"{SECRET}\x85".encode("latin-1"),
        SECRET.encode().ljust(4097),
        SECRET.encode() * 200,
    ],
)
def test_token_files_that_are_refused(content: bytes, tmp_path: Path) -> None:
    """A token file that is empty, long or not visible ASCII is refused by name, and never quoted."""
    path = tmp_path / "token"
    with pytest.raises(SettingsError) as caught:
        with_token_file(path, content)
    assert str(caught.value).startswith(f"{path}, named by flag --metrics-auth-token-file: ")
    assert SECRET not in str(caught.value)


def test_token_and_token_file(tmp_path: Path) -> None:
    """A token and a file for it, from whatever sources, are refused with both named."""
    config = written(tmp_path / "a.toml", 'metrics_auth_token_file = "missing"')
    message = refusal({"config": [config]}, {"AERO_STORAGE_METRICS_AUTH_TOKEN": SECRET})
    assert message.startswith(f"variable AERO_STORAGE_METRICS_AUTH_TOKEN and {config}, key metrics_auth_token_file: ")
    assert SECRET not in message


def test_the_secret_is_never_shown(tmp_path: Path) -> None:
    """No text made from settings holds the token or tells its length."""
    config = written(tmp_path / "a.toml", f'metrics_auth_token = "{SECRET}"')
    resolved = resolve({"config": [config]}, {}, CWD)
    assert resolved.settings.metrics_auth_token == SECRET
    shorter = resolve({"config": [written(tmp_path / "a.toml", 'metrics_auth_token = "x"')]}, {}, CWD)
    assert describe(resolved) == describe(shorter)
    for text in (
        *(describe(resolved), usage("aero-storage"), markdown_table()),
        *(repr(resolved), str(resolved.settings), json.dumps(effective(resolved))),
    ):
        assert SECRET not in text
    assert SECRET not in refusal({"metrics_auth_token": [f"{SECRET} x"]})
    broken = written(tmp_path / "a.toml", f'metrics_auth_token = "{SECRET}')
    assert SECRET not in refusal({"config": [broken]})


def test_describe() -> None:
    """The check of the configuration prints a line per setting: name, value as in TOML, origin."""
    given = {"endpoint": ["tcp:1,tcp:2"], "images_root": ['/a"b\n'], "metrics_auth_token": [SECRET]}
    lines = describe(resolve(given, {"AERO_STORAGE_REQUIRE_RANGE": "on"}, CWD)).split("\n")
    assert [line.split()[0] for line in lines] == list(ROWS)
    assert len({line.index(" = ") for line in lines}) == 1
    said = {line.split()[0]: line.partition(" = ")[2] for line in lines}
    assert said["listen_addr"] == '"0.0.0.0:8080"  (default)'
    assert said["endpoint"] == '["tcp:1", "tcp:2"]  (flag --endpoint)'
    assert said["images_root"] == '"/a\\"b"  (flag --images-root)'
    assert said["require_range"] == "true  (variable AERO_STORAGE_REQUIRE_RANGE)"
    assert said["max_range_bytes"] == "8388608  (default)"
    unlimited = describe(resolve({"max_range_bytes": ["none"]}, {}, CWD))
    assert "max_range_bytes" in unlimited
    assert '= "none"  (flag --max-range-bytes)' in unlimited
    assert said["metrics_auth_token"] == "(set)  (flag --metrics-auth-token)"
    assert said["metrics_auth_token_file"] == "(not set)  (default)"


@pytest.mark.parametrize("level", [None, 0, 1, 2])
def test_effective(tmp_path: Path, level: int | None) -> None:
    """The settings as JSON are those of a configuration file, key by key, but for what is unset or secret."""
    rows = [row for row in table() if row.name != "metrics_auth_token_file"]
    given = {} if level is None else {row.name: [levels_of(row)[level]] for row in rows}
    resolved = resolve(given, {}, CWD)
    shown = json.loads(json.dumps(effective(resolved)))
    assert list(shown) == [row.key for row in table()]
    assert shown.pop("metrics_auth_token") == ("unset" if level is None else "set")
    unset = {key for key, value in shown.items() if value in (None, [])}
    assert unset == {row.key for row in table() if getattr(resolved.settings, row.name) in (None, ())} - {
        "metrics_auth_token"
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in shown.items() if key not in unset]
    again = resolve({"config": [written(tmp_path / "a.toml", *lines)]}, {}, CWD)
    assert again.settings == attrs.evolve(resolved.settings, metrics_auth_token=None)


def test_effective_without_a_limit() -> None:
    """No limit is the word of the configuration file."""
    assert effective(resolve({"max_range_bytes": ["none"]}, {}, CWD))["max_range_bytes"] == "none"


def test_usage() -> None:
    """The help fits 80 columns and explains every setting with flag, twin, default, variable and key."""
    text = usage("twistd --nodaemon aero-storage")
    flat = " ".join(text.split())
    assert max(len(line) for line in text.split("\n")) <= 80
    assert "twistd --nodaemon aero-storage --images-root" in text
    for row in table():
        flags = f"  {row.flag}, {row.twin}\n" if row.is_boolean else f"  {row.flag} {row.metavar}\n"
        default = f"Default {row.default}" if row.default else "No default"
        assert flags in text
        assert f"{row.help} {default}; variable {row.variable}; key {row.key}." in flat
    for flag in ("--config FILE", "--check-config", "--help", "--version"):
        assert f"\n  {flag}\n" in text


def test_markdown_table() -> None:
    """The table of the reference has a row of five cells for every setting."""
    head, rule, *rows = markdown_table().split("\n")
    assert head == "| Flag | Variable | File key | Default | Meaning |"
    assert {line.count("|") for line in (head, rule, *rows)} == {6}
    for row, line in zip(table(), rows, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0].startswith(f"`{row.flag}`")
        assert cells[1:3] == [f"`{row.variable}`", f"`{row.key}`"]
        assert cells[3:] == [f"`{row.default}`" if row.default else "_(unset)_", row.help]


def test_sample_file_loads() -> None:
    """The sample file changes nothing as it is."""
    resolved = resolve({"config": [str(SAMPLE)]}, {}, CWD)
    assert resolved.settings == resolve({}, {}, CWD).settings
    assert set(resolved.origins.values()) == {"default"}


def test_sample_file_holds_the_defaults(tmp_path: Path) -> None:
    """With all keys of the sample uncommented, every one is there, in order, and says its default."""
    keys = re.findall(r"(?m)^#(\w+ = .*)$", SAMPLE.read_text(encoding="utf-8"))
    assert list(tomllib.loads("\n".join(keys))) == list(ROWS)
    without_default = {name for name, row in ROWS.items() if getattr(Settings(), name) is None}
    config = written(tmp_path / "a.toml", *(key for key in keys if key.split(" ")[0] not in without_default))
    resolved = resolve({"config": [config]}, {}, CWD)
    assert resolved.settings == resolve({}, {}, CWD).settings
    assert {name for name, origin in resolved.origins.items() if origin == "default"} == without_default


@drawn(st.text(max_size=30))
def test_any_text_is_an_integer_or_refused(text: str) -> None:
    """Whatever the text, an integer is digits within its bounds, and anything else is a SettingsError."""
    digits = text.strip(" \t\r\n\v\f")
    if re.fullmatch("[0-9]+", digits) and int(digits) <= HUGE:
        assert from_flag("image_metrics_max_ids", text) == int(digits)
    else:
        refusal({"image_metrics_max_ids": [text]})


@drawn(st.sampled_from(list(ROWS)), st.text(max_size=40))
def test_any_text_is_taken_or_refused_in_one_line(name: str, text: str) -> None:
    """No text for any setting ends in anything but a value or one line."""
    try:
        said = describe(resolve({name: [text]}, {}, CWD)).split("\n")
    except SettingsError as error:
        said = [str(error)]
    assert len(said) in {1, len(ROWS)}
    assert not any(CONTROL.search(line) for line in said)


@drawn(st.ip_addresses(), st.integers(0, 65535))
def test_listen_address_round_trip(address: object, port: int) -> None:
    """An address's text form means the address that it came from."""
    expected = ListenAddress(str(address), port)
    assert from_flag("listen_addr", str(expected)) == expected


@drawn(value=st.floats(min_value=0, allow_nan=False, allow_infinity=False).map(abs))
def test_decimals_of_the_file_are_exact(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    """A finite float that is not negative is read from the file as it stands, however small or large."""
    config = written(tmp_path_factory.getbasetemp() / "float.toml", f"bytes_queue_timeout_secs = {value!r}")
    assert resolve({"config": [config]}, {}, CWD).settings.bytes_queue_timeout_secs == value


def test_sizes_of_virtual_chunks_are_those_of_the_format() -> None:
    """The setting takes the chunk sizes that the format has, and no other."""
    row = ROWS["virtual_chunk_bytes"]
    assert (row.parse(str(SECTOR)), row.parse(str(MAX_CHUNK_SIZE))) == (SECTOR, MAX_CHUNK_SIZE)
    for size in (0, SECTOR - 1, SECTOR + 1, MAX_CHUNK_SIZE + SECTOR):
        with pytest.raises(ValueError, match="a multiple of 512 from 512 to 67108864"):
            row.parse(str(size))


ORIGINALS = [
    ("AERO_BIND", "127.0.0.1:1", "listen_addr", ListenAddress("127.0.0.1", 1)),
    ("AERO_STORAGE_SERVER_ADDR", "127.0.0.1:1", "listen_addr", ListenAddress("127.0.0.1", 1)),
    ("AERO_STORAGE_SERVER_LISTEN_ADDR", "127.0.0.1:1", "listen_addr", ListenAddress("127.0.0.1", 1)),
    ("AERO_IMAGE_ROOT", "/old", "images_root", Path("/old")),
    ("AERO_IMAGE_DIR", "/old", "images_root", Path("/old")),
    ("AERO_STORAGE_SERVER_IMAGES_ROOT", "/old", "images_root", Path("/old")),
    ("AERO_STORAGE_SERVER_CORS_ORIGIN", "https://a.test", "cors_origin", ("https://a.test",)),
    ("AERO_STORAGE_CORP", "same-origin", "cross_origin_resource_policy", "same-origin"),
    (
        "AERO_STORAGE_SERVER_CROSS_ORIGIN_RESOURCE_POLICY",
        "same-origin",
        "cross_origin_resource_policy",
        "same-origin",
    ),
    ("AERO_STORAGE_SERVER_LOG_LEVEL", "warn", "log_level", "warn"),
]


@pytest.mark.parametrize(("variable", "text", "name", "value"), ORIGINALS)
def test_variables_of_the_original(variable: str, text: str, name: str, value: object, tmp_path: Path) -> None:
    """The original's variable is taken above the file, below ours and the flag, with one warning that names ours."""
    ours = ROWS[name].variable
    shown = f"['{text}']" if name == "cors_origin" else f"'{text}'"
    config = written(tmp_path / "a.toml", f"{name} = {shown}")
    for given in ({}, {"config": [config]}):
        resolved = resolve(given, {variable: text, ours: ""}, CWD)
        assert getattr(resolved.settings, name) == value
        assert resolved.origins[name] == f"variable {variable}"
        assert resolved.warnings == (f"{variable} is the original server's name; use {ours}",)
    for stronger in (
        resolve({}, {variable: "unfit", ours: text}, CWD),
        resolve({name: [text]}, {variable: text}, CWD),
    ):
        assert getattr(stronger.settings, name) == value
        assert stronger.warnings == ()
    unfit = "a\0b" if name == "images_root" else ","
    assert refusal({}, {variable: unfit}).startswith(f"variable {variable}: ")


@pytest.mark.parametrize("name", ["listen_addr", "images_root", "cross_origin_resource_policy"])
def test_order_of_the_original(name: str) -> None:
    """Of several variables of the original the first of the order is taken, and it alone is warned of."""
    rows = [row for row in ORIGINALS if row[2] == name]
    for count in range(len(rows)):
        given = {
            variable: text if at == count else "" for at, (variable, text, _, _) in enumerate(rows) if at <= count
        }
        rest = {variable: "unfit" for variable, _, _, _ in rows[count + 1 :]}
        resolved = resolve({}, given | rest, CWD)
        assert getattr(resolved.settings, name) == rows[count][3]
        assert [warning.split()[0] for warning in resolved.warnings] == [rows[count][0]]


@pytest.mark.parametrize("text", ["s3:/images", "s3:images", "GS:/x/y", "az:"])
def test_mistyped_url_is_no_directory(text: str) -> None:
    """A URL of a bucket with too few slashes is told of as such: nobody has a directory of such a name."""
    with pytest.raises(SettingsError, match="two slashes follow the colon"):
        resolve({"images_root": [text]}, {}, Path("/"))


def test_other_defaults(tmp_path: Path) -> None:
    """A program may have defaults of its own: they are weaker than the file, and count as defaults."""
    (tmp_path / "file.toml").write_text("workers = 3\n")
    defaults = {"workers": "2", "idle_timeout_secs": "7"}
    resolved = resolve({"config": ["file.toml"]}, {}, tmp_path, defaults)
    assert (resolved.settings.workers, resolved.settings.idle_timeout_secs) == (3, 7)
    assert resolved.is_default("idle_timeout_secs")
    assert not resolved.is_default("workers")
    with pytest.raises(SettingsError, match="default"):
        resolve({}, {}, tmp_path, {"workers": "many"})
