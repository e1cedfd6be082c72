"""Counts on their way from one process to another."""

from __future__ import annotations

import json

import attrs
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.metrics import Counts, Gauge, counts
from aero_storage.workers.control_protocol import from_document, to_document

NUMBERS = st.integers(0, 2**63) | st.floats(0, allow_infinity=False)
LABELS = st.lists(st.text(max_size=20), min_size=1, max_size=3).map(tuple)
TALLIES = st.dictionaries(LABELS, NUMBERS, max_size=4)
HISTOGRAMS = st.dictionaries(LABELS, st.lists(NUMBERS, min_size=14, max_size=14), max_size=3)
COUNTS = st.builds(
    Counts,
    requests=TALLIES,
    durations=HISTOGRAMS,
    bytes=TALLIES,
    ranges=TALLIES,
    store_errors=TALLIES,
    reloads=TALLIES,
    refusals=TALLIES,
    slow=TALLIES,
    delivered=TALLIES,
    rejections=TALLIES,
    broken_off=TALLIES,
    lines_dropped=TALLIES,
    lease_reloads=TALLIES,
    queue_waits=HISTOGRAMS,
    reactor_delays=HISTOGRAMS,
    reloaded_at=NUMBERS,
    gauges=st.dictionaries(st.sampled_from(Gauge).map(str), NUMBERS),
    process=st.dictionaries(st.text(max_size=20), NUMBERS, max_size=4),
)


@given(COUNTS)
def test_round_trip(given_counts: Counts) -> None:
    """Through JSON counts come back as they were: every label, every number to the last bit."""
    assert from_document(json.loads(json.dumps(to_document(given_counts)))) == given_counts


@given(COUNTS, COUNTS)
def test_sums_travel_as_well(one: Counts, other: Counts) -> None:
    """It does not matter whether counts are added before they travel or after."""
    arrived = from_document(json.loads(json.dumps(to_document(one))))
    arrived.add(from_document(json.loads(json.dumps(to_document(other)))))
    one.add(other)
    assert arrived == one


def test_every_field_travels() -> None:
    """No field of the counts is forgotten on the way, and none in these tests."""
    fields = {field.name for field in attrs.fields(Counts)}
    assert to_document(Counts()).keys() == fields
    assert fields == {*counts.TALLIES, *counts.HISTOGRAMS} | {"reloaded_at", "gauges", "process"}


def test_a_copy() -> None:
    """A document does not change with the counts that it was made of."""
    told = Counts(durations={("/", "GET"): [0.0] * 14})
    before = to_document(told)
    told.durations["/", "GET"][0] += 1
    told.bytes["a",] = 1
    told.process["x"] = 1
    assert before != to_document(told)
    assert before == to_document(Counts(durations={("/", "GET"): [0.0] * 14}))
