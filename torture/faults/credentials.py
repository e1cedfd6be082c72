"""Keys of the store that lapse and are renewed, in the file that a daemon which runs reads them from."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import attrs
from tests.object_store.server import ObjectStore

from torture.bucket_readers import CUT, SERVED, Readers, Sightings, live_result, seen_until
from torture.bucket_trial import BucketTrial, Root, home, run_bucket_trial
from torture.outcome import Outcome

_READERS, _STEADY, _SECONDS = 3, 20, 15.0
_SMALL_CACHE = 1 << 20
_TOKEN = "a-session"


def renewed_credentials(count: int) -> Outcome:
    """Renew the key so many times, in turn before the old one lapses, which nobody sees, and after it.

    In between, what is not in the cache is a 500; the next request after the renewal is signed with the new key.
    """
    complaints: list[str] = []
    in_time, late = Sightings(), Sightings()
    with ObjectStore() as store, home() as place, ExitStack() as held:
        root, file = Root.filled(store), place / "credentials"
        _renew(file, "key0")
        _accept(root, "key0")
        trial = held.enter_context(
            run_bucket_trial(
                root, cache=place / "cache", cache_bytes=_SMALL_CACHE, env=_variables(file), complaints=complaints
            )
        )
        readers = held.enter_context(root.readers(trial.daemon).reading(_READERS))
        for number in range(count):
            key, is_late = f"key{1 + number}", bool(number % 2)
            _add(late if is_late else in_time, _lapse(trial, readers, file, key, is_late=is_late))
    saw = f"renewed before the old key lapsed: {in_time}; after it: {late}, then served again without a restart"
    tried = "renewals of the key in AWS_SHARED_CREDENTIALS_FILE, under readers, in turn in time and late"
    return Outcome("keys that lapse", tried, count, saw, live_result([in_time, late]), complaints=tuple(complaints))


def _variables(file: Path) -> dict[str, str]:
    return {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


def _renew(file: Path, key: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(
        f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\naws_session_token = {_TOKEN}\n",
        encoding="ascii",
    )
    fresh.replace(file)


def _accept(root: Root, key: str | None) -> None:
    """Have the store take one key alone, or any."""
    root.bucket.quirks = attrs.evolve(root.bucket.quirks, accepted_key=key)


def _lapse(trial: BucketTrial, readers: Readers, file: Path, key: str, *, is_late: bool) -> Sightings:
    root, name = trial.root, f"{key}, {'late' if is_late else 'in time'}"
    trial.check(readers.wait_until_served(_STEADY, _SECONDS), f"{name}: not served before: {readers.seen}")
    seen = readers.count_from_now()
    if is_late:
        _accept(root, key)
        trial.check(seen_until(lambda: seen.ends["500"] >= 2, _SECONDS), f"{name}: no request was refused: {seen}")
        _renew(file, key)
    else:
        _accept(root, None)
        _renew(file, key)
        begun = len(root.store.requests)
        trial.check(seen_until(lambda: _signs_with(root, key, begun), _SECONDS), f"{name}: the key is not used")
        _accept(root, key)
        enough = sum(seen.ends.values()) + _STEADY
        trial.check(seen_until(lambda: sum(seen.ends.values()) >= enough, _SECONDS), f"{name}: readers saw {seen}")
    trial.check(readers.wait_until_served(_STEADY, _SECONDS), f"{name}: not served again: {readers.seen}")
    for text in (*seen.wrongs, *readers.seen.wrongs):
        trial.check(holds=False, text=f"{name}: {text}")
    allowed = {SERVED, "500", CUT} if is_late else {SERVED}
    trial.check(set(seen.ends) <= allowed, f"{name}: readers saw {seen}")
    return seen


def _signs_with(root: Root, key: str, begun: int) -> bool:
    """Whether the last requests since the renewal all have the new key: none with the old one is left then."""
    fields = [one.headers.get("authorization", "") for one in root.store.requests[begun:]][-2 * _READERS :]
    return len(fields) == 2 * _READERS and all(f"Credential={key}/" in one for one in fields)


def _add(total: Sightings, seen: Sightings) -> None:
    total.ends.update(seen.ends)
    total.took.extend(seen.took)
