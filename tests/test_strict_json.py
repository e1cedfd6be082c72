"""The one reader of JSON that others have written: what it refuses, by which words, at which cost."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.errors import JsonError
from aero_storage.strict_json import Values, load

MIB = 1 << 20
MOST = 1000
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab,[{"\\:é'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a,[{"\\', max_size=3), inner, max_size=4),
    max_leaves=20,
)


def refusal(data: bytes, max_values: int = MOST) -> str:
    with pytest.raises(JsonError) as caught:
        load(data, max_values)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) <= 300
    return message


def count(value: object) -> int:
    """Count as the limit does: objects and arrays, and a comma for each member or element but the first."""
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(0, len(value) - 1) + sum(map(count, inner))
    return 0


@given(value=VALUES, spaced=st.booleans())
def test_sound_documents(value: object, *, spaced: bool) -> None:
    """What any writer of JSON writes is read as it was, up to the limit on values and not one over."""
    data = json.dumps(value, ensure_ascii=False, indent=1 if spaced else None).encode()
    wanted = count(value)
    assert load(data, wanted) == value
    if wanted:
        assert refusal(data, wanted - 1).startswith(f"not usable: more than {wanted - 1} values: byte ")


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ('{"a": 1, "b": 2, "a": 1}', "a"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "a.b"),
        ('{"images": [{"id": 1}, {"id": 1, "id": 1}]}', "images[1].id"),
        ('[[0, {"x": [{"y": 1, "y": 1}]}]]', "[0][1].x[0].y"),
        ('[{"x": {"y": 1, "y": 1}, "x": 1}]', "[0].x"),
        ('{"a b": {"": 1, "": 1}}', '["a b"][""]'),
        ('{"\\n\\ud800": 1, "\\n\\ud800": 1}', r'["\n\ud800"]'),
        ('{"a": 1, "\\u0061": 1}', "a"),
    ],
)
def test_key_given_twice(document: str, place: str) -> None:
    """A key that is given twice, however deep and however it is spelt, is told by its place."""
    assert refusal(document.encode()) == f"{place}: given twice"


def test_long_place() -> None:
    """A place that is far down is told by its end."""
    document = '{"part":' * 300 + '{"x": 1, "x": 1}' + "}" * 300
    assert refusal(document.encode()).endswith(".part.part.x: given twice")


@pytest.mark.parametrize(
    "document",
    [
        b'{"images":0' + b"".join(b',"%x":1' % i for i in range(600_000)) + b"}",
        b"[" + b",".join([b"[]"] * 2 * MIB) + b"]",
        b"[" + b",".join(b'"%x"' % i for i in range(600_000)) + b"]",
        b"[" + b'"a"' * 2 * MIB + b"," * MIB,
        b'["' + b'\\"' * 3 * MIB + b"," * MOST,
        b"[" * 6 * MIB,
    ],
    ids=["keys", "containers", "elements", "no commas", "unfinished string", "nested"],
)
def test_refusal_costs_little(document: bytes) -> None:
    """A document of too many values is refused before any is made: it takes twice its size, not thirty times."""
    tracemalloc.start()
    try:
        refusal(document)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(document) + MIB


def test_compact() -> None:
    """Each object is replaced, from the inside out, before the next is read."""

    def compact(values: Values) -> object:
        return tuple(values.items())

    assert load(b'{"a": {"b": 1}}', MOST, compact) == (("a", (("b", 1),)),)
