"""Faults of an object store: each is met by a daemon without a cache, or by one whose cache is too small."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import attrs
from tests.object_store.buckets import Quirks
from tests.object_store.faults import (
    ACCESS_DENIED,
    CLOCK_SKEWED,
    CLOSE,
    HANG,
    HANGING,
    INTERNAL_ERROR,
    RESET,
    RESETTING,
    SLOW_DOWN,
    WHOLE,
    Answer,
    Asked,
    Fault,
    cut,
    other_tag,
    shifted_range,
    shorter,
    slow,
)
from tests.object_store.server import ObjectStore

from torture.bucket_readers import CUT, SERVED, Readers, Sightings, live_result, seen_until
from torture.bucket_trial import KEY, MANIFEST, BucketTrial, Root, home, run_bucket_trial
from torture.outcome import MIB, Outcome
from torture.trial import IMAGE

_READERS = 3
_STEADY = 12
"""Responses in a row that have to be whole before a fault begins, and again after it has ended."""

_RECOVERY_SECONDS = 15.0
_MOST_SECONDS = 15.0
"""Within so long a fault has to be met, and seen by clients if it is one that they see."""

_BURST = 4
_OF_RANGES = frozenset({shifted_range(1).name, shorter(1).name})
_SMALL_CACHE = MIB


@attrs.frozen
class Case:
    """One fault: how it is brought about for the length of a with block, and what clients may see of it."""

    name: str
    begin: Callable[[Root, list[object]], object]
    """Given the bucket, and a list that grows each time the fault is met."""
    allowed: tuple[str, ...] = ()
    """Ends of requests that it excuses. None: clients see nothing of it but time."""
    needed: str = ""
    """The end that at least one request has to have."""
    change: Callable[[Root, list[object]], object] | None = None
    """Done again and again meanwhile."""
    end: Callable[[Root], object] = lambda root: root.store.faults.clear()


def _counted(fault: Fault, met: list[object]) -> Fault:
    def alter(asked: Asked, answer: Answer) -> Answer:
        met.append(asked.operation)
        return fault.alter(asked, answer)

    return attrs.evolve(fault, alter=alter)


def _script(*faults: Fault, times: float = _BURST) -> Callable[[Root, list[object]], None]:
    """Return what has requests to the image meet each fault so many times."""

    def begin(root: Root, met: list[object]) -> None:
        for fault in faults:
            operations = ("get",) if fault.name in _OF_RANGES else ("get", "head")
            root.store.faults.add(_counted(fault, met), *operations, key=KEY, times=times)

    return begin


_always = partial(_script, times=math.inf)


def _replace(root: Root, met: list[object]) -> None:
    root.put(root.versions[len(met) % 2])
    met.append("put")
    time.sleep(0.1)


def _delete(root: Root, met: list[object]) -> None:
    root.bucket.delete(KEY)
    time.sleep(0.7)  # longer than a look is believed
    root.put(root.versions[0])
    met.append("delete")
    time.sleep(0.2)


def _break(root: Root, met: list[object]) -> None:
    root.store.break_connections()
    met.append("break")
    time.sleep(0.05)


def _lose_bucket(root: Root, met: list[object]) -> None:
    root.store.buckets.clear()
    met.append("bucket")


def _find_bucket(root: Root) -> None:
    root.store.buckets["images"] = root.bucket


def _lapse(root: Root, met: list[object]) -> None:
    root.bucket.quirks = attrs.evolve(root.bucket.quirks, accepted_key="another")
    met.append("key")


def _let_in(root: Root) -> None:
    root.bucket.quirks = Quirks()


def _break_catalog(root: Root, met: list[object]) -> None:
    root.bucket.put("manifest.json", MANIFEST[: 7 * (1 + len(met) % 9)])
    met.append("catalog")
    time.sleep(0.1)


_AWAY = ("503", CUT)
CASES = (
    Case("slow answers", _always(slow(0.2))),
    Case("answers that never come, some", _script(HANGING, times=2)),
    Case("bursts of 503 SlowDown and 500", _script(SLOW_DOWN, INTERNAL_ERROR)),
    Case("resets, before and in bodies", _script(RESETTING, cut(1000, RESET))),
    Case("bodies cut short, or that stand still", _script(cut(1000, CLOSE), cut(0, HANG), times=2)),
    Case("another tag", _script(other_tag())),
    Case("another range, or a shorter one", _script(shifted_range(1), shorter(1))),
    Case("200 to a range", _script(WHOLE)),
    Case("connections that break", lambda *_: None, change=_break),
    Case("answers that never come, none", _always(HANGING), _AWAY, "503"),
    Case("503 SlowDown, always", _always(SLOW_DOWN), _AWAY, "503"),
    Case("bodies cut short, always", _always(cut(1000)), _AWAY, "503"),
    Case("another tag, always", _always(other_tag()), _AWAY),
    Case("another range, always", _always(shifted_range(1)), _AWAY, "503"),
    Case("access denied", _always(ACCESS_DENIED), ("500", CUT), "500"),
    Case("a clock that is wrong", _always(CLOCK_SKEWED), ("500", CUT), "500"),
    Case("a key that has lapsed", _lapse, ("500", CUT), "500", end=_let_in),
    Case("no bucket", _lose_bucket, _AWAY, "503", end=_find_bucket),
    # A request starts over once: on a busy machine the object may be replaced again before its head is sent.
    Case("replaced in mid-stream", lambda *_: None, ("503", CUT), change=_replace),
    Case("deleted in mid-stream, and put back", lambda *_: None, ("404", CUT), "404", change=_delete),
    Case("a catalog that is none", lambda *_: None, change=_break_catalog, end=lambda root: root.restore_catalog()),
)  # fmt: skip


def origin_faults(count: int) -> Outcome:
    """Meet each fault without a cache and with one that is too small; if `count` is less, some, each in one way."""
    met = [(case, cached) for cached in (False, True) for case in CASES]
    if count < len(met):
        # Neighbours are alike: of few cases each is as far from the next as can be.
        some = [CASES[number * len(CASES) // count] for number in range(count)]
        met = [(case, bool(number % 2)) for number, case in enumerate(some)]
    complaints: list[str] = []
    told: dict[str, str] = {}
    seen: list[Sightings] = []
    for cached in (False, True):
        with ObjectStore() as store, home() as place, ExitStack() as held:
            root = Root.filled(store)
            cache = place / "cache" if cached else None
            daemon = run_bucket_trial(root, cache=cache, cache_bytes=_SMALL_CACHE, complaints=complaints)
            trial = held.enter_context(daemon)
            readers = held.enter_context(root.readers(trial.daemon).reading(_READERS))
            for case in (case for case, wants_cache in met if wants_cache is cached):
                seen.append(_meet(trial, readers, case, f"{case.name} ({'a small cache' if cached else 'no cache'})"))
                told[case.name] = str(seen[-1])
    saw = "; ".join(f"{name}: {text}" for name, text in told.items())
    tried = "faults of a store, each with readers of random ranges"
    return Outcome("a store's faults", tried, len(met), saw, live_result(seen), complaints=tuple(complaints))


def _meet(trial: BucketTrial, readers: Readers, case: Case, name: str) -> Sightings:
    """Bring one fault about, end it, and wait until all is well again; return what readers saw meanwhile."""
    trial.check(readers.wait_until_served(_STEADY, _RECOVERY_SECONDS), f"{name}: not served before: {readers.seen}")
    with _fault(trial.root, case) as met:
        seen = readers.count_from_now()
        enough = seen_until(lambda: _is_enough(case, seen, met), _MOST_SECONDS)
    recovered = readers.wait_until_served(_STEADY, _RECOVERY_SECONDS)
    trial.check(enough, f"{name}: readers saw {seen}, met {len(met)} times")
    trial.check(recovered, f"{name}: readers are not served again: {readers.seen}")
    for text in (*seen.wrongs, *readers.seen.wrongs):
        trial.check(holds=False, text=f"{name}: {text}")
    others = set(seen.ends) - {SERVED, *case.allowed}
    trial.check(not others, f"{name}: readers saw {seen}")
    trial.check(trial.daemon.ask("/readyz").status == 200, f"{name}: not ready afterwards")
    return seen


def _is_enough(case: Case, seen: Sightings, met: list[object]) -> bool:
    total = sum(seen.ends.values())
    return len(met) >= 1 and total >= _STEADY and (not case.needed or seen.ends[case.needed] >= 2)


@contextmanager
def _fault(root: Root, case: Case) -> Iterator[list[object]]:
    met: list[object] = []
    case.begin(root, met)
    over = threading.Event()
    changing = threading.Thread(target=_change, args=(root, case, met, over), daemon=True)
    changing.start()
    try:
        yield met
    finally:
        over.set()
        changing.join()
        case.end(root)


def _change(root: Root, case: Case, met: list[object], over: threading.Event) -> None:
    while case.change is not None and not over.is_set():
        case.change(root, met)


def bucket_gone(count: int) -> Outcome:
    """Take the bucket away for so many seconds under load: all that is in the cache goes on being served."""
    complaints: list[str] = []
    with ObjectStore() as store, home() as place, ExitStack() as held:
        root = Root.filled(store)
        trial = held.enter_context(run_bucket_trial(root, cache=place / "cache", complaints=complaints))
        trial.daemon.ask(IMAGE)
        readers = held.enter_context(root.readers(trial.daemon).reading(_READERS))
        trial.check(readers.wait_until_served(_STEADY, _RECOVERY_SECONDS), f"not served before: {readers.seen}")
        seen, deadline = readers.count_from_now(), time.monotonic() + count
        _lose_bucket(root, [])
        for path in itertools.cycle((IMAGE, f"{IMAGE}/meta", "/v1/images", "/readyz")):
            if time.monotonic() > deadline:
                break
            trial.check(
                trial.daemon.ask(path, "HEAD").status == 200, f"{path} is not served while the bucket is gone"
            )
            time.sleep(0.05)
        _find_bucket(root)
        _shows_change(trial)
    trial.check(set(seen.ends) == {SERVED}, f"readers saw {seen}")
    for text in seen.wrongs:
        trial.check(holds=False, text=text)
    saw = f"{seen}; heads, `meta`, the list and /readyz too; a change showed once it was back"
    tried = "seconds without the bucket, all of the image in the cache"
    return Outcome("no bucket, warm", tried, count, saw, live_result([seen]), complaints=tuple(complaints))


def _shows_change(trial: BucketTrial) -> None:
    root = trial.root
    root.put(root.versions[1])
    tag = root.versions[1].tag_of(_tag(root))
    shown = seen_until(lambda: trial.daemon.ask(IMAGE, "HEAD").get("ETag") == tag, _RECOVERY_SECONDS)
    trial.check(shown, "a change after the bucket was back does not show")


def _tag(root: Root) -> str:
    stored = root.bucket.get(KEY)
    return "" if stored is None else stored.tag
