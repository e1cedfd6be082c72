"""A search for tokens and keys in logs, answers, metrics and lists of processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

from tests.blackbox.harness import environment, until
from tests.blackbox.raw_http import NoReplyError, head

from aero_storage.delivery.routes import ROUTES
from torture.leases.issuer import ED_KEY, HS_KEY, KEYS, Key, b64, key_set, put
from torture.leases.trial import LeasedTrial, leased_trial
from torture.outcome import Outcome

_ROOT = Path(__file__).parents[2]
_COMMAND = Path(sys.executable).with_name("aero-storage")
_CORE_SETTINGS = {
    "etc/systemd/aero-storage.service": "LimitCORE=0",
    "etc/runit/aero-storage/run": "-c 0",
    "etc/compose.yaml": "core: 0",
}
"""What keeps memory, in which keys and tokens are, out of files; by the files that we ship."""
_SEEN_SECONDS = 10.0


def secret_search(count: int) -> Outcome:
    """Show so many tokens in all places of requests, break files as often, run `doctor`; then look for all of it."""
    with leased_trial("--log-level=debug", "--virtual-chunks") as trial:
        before = trial.footprint()
        for key in KEYS:
            trial.note(b64(key.secret))
        with trial.with_live_clients(1, "/v1/images/open"):
            answers = [*_asked(trial, count)]
            broken = sum(_break(trial, data) for data in islice(_broken_keys(), count))
            trial.set_keys(KEYS)
            broken += _break_revocations(trial)
            _examine(trial)
        after = trial.footprint_after(before)
        trial.check_alive()
        trial.check_secrets(*answers)
        lines = trial.daemon.log_text().count("\n")
    for name, setting in _CORE_SETTINGS.items():
        trial.check(setting in (_ROOT / name).read_text(encoding="utf-8"), f"{name} has no {setting!r}")
    saw = f"none in {lines:,} lines of a log at debug, {len(answers):,} answers, metrics, processes and `doctor`"
    tried = f"requests with tokens in all places, {broken} broken files of keys and revocations"
    return trial.outcome("a search for secrets", tried, len(answers), saw, (before, after))


def _asked(trial: LeasedTrial, count: int) -> Iterator[bytes]:
    """Yield all of the answers to requests with tokens in all places."""
    for token, target in product(islice(_tokens(), count), _targets()):
        trial.note(token)
        for request in _requests(target, token):
            with trial.daemon.dial() as conn:
                conn.send(request)
                try:
                    reply = conn.reply(method="HEAD" if request.startswith(b"HEAD") else "GET")
                except NoReplyError:
                    continue
                text = reply.raw_head + reply.body[:4096]
                yield text if b"Set-Cookie: " not in text else re.sub(rb"Set-Cookie: [^\r]*", b"", text)


def _tokens() -> Iterator[str]:
    good = ED_KEY.lease(jti="a-name")
    yield good
    yield HS_KEY.lease(sub="ada")
    yield HS_KEY.lease("other")
    yield HS_KEY.lease(lifetime=-1)
    yield HS_KEY.lease(scope="none")
    yield Key("nobody", HS_KEY.algorithm).lease()
    yield good[:-2] + "AA"
    yield good + "="
    yield good.replace(".", "~")
    yield good * 8


def _targets() -> Iterator[str]:
    names = {"image_id": "disk", "version": "v-1", "chunk_name": "00000000.bin", "part": "aero-disk.js"}
    for route in ROUTES:
        yield re.sub(r":(\w+)", lambda match: names[match[1]], route.template)
    yield from ("/v1/images/nobody", "/v1/images/%00", "/nowhere", "/v1/images/disk/lease?cookie=1")


def _requests(target: str, token: str) -> Iterator[bytes]:
    also = f"{target}{'&' if '?' in target else '?'}"
    yield head("GET", f"{also}lease={token}")
    yield head("HEAD", f"{also}lease={token}")
    yield head("POST", f"{also}lease={token}")
    yield head("GET", target, {"Authorization": f"Bearer {token}", "Range": "bytes=0-0"})
    yield head("GET", target, {"Authorization": f"Basic {token}"})
    yield head("GET", target, {"Cookie": f"aero-lease={token}; __Secure-aero-lease={token}"})
    yield head("GET", target, (("Authorization", f"Bearer {token}"), ("Authorization", token)))
    yield head("GET", target, {"X-Original-URI": f"/?lease={token}", "Referer": f"http://a/?lease={token}"})
    yield head("GET", f"{also}lease={token}", {"Range": "bytes=9-1"})
    yield head("GET", f"{also}lease={token}", version="HTTP/9.9")


def _broken_keys() -> Iterator[bytes]:
    """Yield files of keys that the daemon must refuse; each has secrets."""
    good = key_set(KEYS)
    yield good[: good.index(b'"k"') + 30]
    yield good.replace(b'"k"', b'"k":"x","k"', 1)
    yield good.replace(b'"kid": "hs-2"', b'"kid": "hs"')
    yield json.dumps({"keys": [ED_KEY.jwk | {"d": b64(ED_KEY.secret)}]}).encode()
    yield json.dumps({"keys": [HS_KEY.jwk | {"k": b64(HS_KEY.secret)[:30]}]}).encode()
    yield json.dumps({"keys": [HS_KEY.jwk | {"k": f"{b64(HS_KEY.secret)}="}]}).encode()
    yield json.dumps({"keys": [HS_KEY.jwk | {"kid": None}]}).encode()
    yield json.dumps({b64(HS_KEY.secret): [HS_KEY.jwk]}).encode()
    yield b64(HS_KEY.secret).encode()


def _break(trial: LeasedTrial, data: bytes) -> int:
    """Put a broken file of keys in place, and wait until the daemon has told of it; 1."""
    size = trial.daemon.log_size()
    put(trial.keys_file, data)
    _wait_for_word(trial, size, "lease keys")
    return 1


def _break_revocations(trial: LeasedTrial) -> int:
    size, token = trial.daemon.log_size(), HS_KEY.lease()
    trial.note(token)
    put(trial.revocations_file, f'{{"jti": "{token}\n'.encode())
    _wait_for_word(trial, size, "revocations")
    trial.revoke()
    return 1


def _wait_for_word(trial: LeasedTrial, size: int, subject: str) -> None:
    try:
        until(lambda: any(subject in line["message"] for line in trial.daemon.lines(size)), _SEEN_SECONDS)
    except AssertionError:
        trial.check(holds=False, text=f"the daemon did not tell of a broken file of {subject}")


def _examine(trial: LeasedTrial) -> None:
    """Run `doctor` with a lease, and look at what it prints and at its command line."""
    token = ED_KEY.lease()
    trial.note(token)
    path = trial.daemon.home / "lease"
    put(path, token.encode())
    words = [str(_COMMAND), "doctor", f"http://127.0.0.1:{trial.daemon.port}", "--lease-file", str(path), "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()) as process:
        seen = Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()
        said = process.communicate(timeout=120)[0]
    trial.check(b'"lease-carriers"' in said, f"doctor said {said[:300]!r}")
    trial.check(token.encode() not in said + seen, "doctor shows the lease")
    failures = [one for one in _document(said) if one["verdict"] == "failure"]
    trial.check(not failures, f"doctor complains: {failures}")


def _document(said: bytes) -> list[dict[str, str]]:
    try:
        return list(json.loads(said)["checks"])
    except ValueError:
        return [{"verdict": "failure", "seen": "no document"}]
