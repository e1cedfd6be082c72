"""Remembered heads change no answer to a lease: equal requests go to two daemons, one of which remembers nothing."""

from __future__ import annotations

import uuid
from shutil import copy2
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.blackbox.image_roots import VERSION
from tests.blackbox.leased_root import REVOKED, SLICED_VERSION, lease, leased, leased_root, now
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Reply

FLAGS = ("--lease-failures-per-sec", "0", "--cors-origin", "https://a.test")
LOGGED_ALIKE = ("path", "status", "outcome", "bytes_sent", "user_id", "lease", "range", "version", "reason")
VARYING = {"date", "x-request-id", "aero-lease-remaining"}
TOKENS = {
    "good": lambda: lease(["secret", "chunky", "sliced", "gone", "nosuch"], jti="good", sub="ada"),
    "good, without a name": lambda: lease(["secret", "sliced"], jti=..., sub=...),
    "one version": lambda: lease(["secret", "chunky"], ver=VERSION, jti="one-version"),
    "version of chunks": lambda: lease(["chunky", "sliced"], ver="v1", jti="chunks"),
    "version of slices": lambda: lease("sliced", ver=SLICED_VERSION, jti="slices"),
    "another image": lambda: lease("open"),
    "no scope": lambda: lease(scope=""),
    "revoked": lambda: lease(jti=REVOKED),
    "expired": lambda: lease(iat=now() - 100, exp=now() - 50),
    "not in a URL": lambda: lease("secret", uexp=now() - 50, jti="no-url"),
    "junk": lambda: "junk",
}
NAMES = st.sampled_from([None, *TOKENS])
PATHS = st.sampled_from(
    [
        *(
            "secret",
            "secret/data",
            "secret/meta",
            "secret/lease",
            "gone",
            "nosuch",
            "nosuch/meta",
            "open",
            "open/meta",
        ),
        *(f"secret/versions/{VERSION}", "secret/versions/v-0", "chunky/chunked/manifest"),
        *(
            "chunky/chunked/chunks/00000000.bin",
            "chunky/chunked/v1/chunks/00000000.bin",
            "chunky/chunked/v2/manifest",
        ),
        *("sliced/chunked/manifest", "sliced/chunked/chunks/00000001.bin", ".."),
    ]
)
FIELDS = st.sampled_from(
    [
        {},
        {"Range": "bytes=0-99"},
        {"Range": "bytes=900000-"},
        {"If-None-Match": "*"},
        {"If-Match": '"x"'},
        {"Origin": "https://a.test", "Range": "bytes=5-9"},
        {"X-Aero-User-Id": "mallory"},
    ]
)


@pytest.fixture(scope="module")
def lanes(home: Callable[[str], Path]) -> Iterator[tuple[Daemon, Daemon]]:
    """Two daemons over one images root: one remembers plans, one does not."""
    paths = home("lease-express"), home("lease-general")
    leased_root(paths[0])
    (paths[1] / "images").symlink_to(paths[0] / "images")
    for name in ("keys.json", "revoked.jsonl"):
        copy2(paths[0] / name, paths[1] / name)
    with leased(paths[0], *FLAGS, "--express") as express, leased(paths[1], *FLAGS, "--no-express") as general:
        yield express, general


def ask(daemon: Daemon, method: str, target: str, fields: dict[str, str]) -> tuple[Reply, dict[str, Any]]:
    """Return the second of two equal responses, and its line in the log."""
    with daemon.dial() as conn:
        for _ in range(2):
            conn.send(head(method, target, fields | {"X-Request-Id": f"t-{uuid.uuid4()}"}))
            reply = conn.reply(method)
    line = daemon.complete(reply["X-Request-Id"] or "")
    return reply, {name: line.get(name) for name in LOGGED_ALIKE}


def comparable(reply: Reply) -> tuple[int, list[tuple[str, str]], bool, bytes]:
    fields = sorted((name.lower(), value) for name, value in reply.fields if name.lower() not in VARYING)
    return reply.status, fields, reply.get("Aero-Lease-Remaining") is None, reply.body


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "GET", "HEAD", "OPTIONS"]),
    path=PATHS,
    fields=FIELDS,
    bearer=NAMES,
    query=NAMES,
    cookie=NAMES,
)
def test_any_request(
    lanes: tuple[Daemon, Daemon],
    method: str,
    path: str,
    fields: dict[str, str],
    bearer: str | None,
    query: str | None,
    cookie: str | None,
) -> None:
    """Status, headers, body and log line are the same in both lanes, for a head that has come before."""
    target = f"/v1/images/{path}" + ("" if query is None else f"?lease={TOKENS[query]()}")
    given_fields = dict(fields)
    if bearer is not None:
        given_fields["Authorization"] = f"Bearer {TOKENS[bearer]()}"
    if cookie is not None:
        given_fields["Cookie"] = f"aero-lease={TOKENS[cookie]()}"
    (one, line), (other, other_line) = (ask(daemon, method, target, given_fields) for daemon in lanes)
    assert comparable(one) == comparable(other)
    assert line == other_line
