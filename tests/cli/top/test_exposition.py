"""Pages of metrics as text: what is read of them, and what is refused."""

from __future__ import annotations

import pytest

from aero_storage.cli.top import exposition
from aero_storage.cli.top.exposition import parse_exposition
from aero_storage.errors import OperatorError

PAGE = r"""# HELP requests Requests.
# TYPE requests counter
requests{route="/a",status="200"} 3
requests{route="/b",status="200"} 4.5e1
requests{route="/b",status="404",} 1 1700000000000

up 1
label{text="a\"b\\c\nd, {e} 1"} 7
odd{x="}"} +Inf
"""


def test_samples_are_summed() -> None:
    """Samples of a name are summed, all of them or those with wanted labels, and by the value of a label."""
    page = parse_exposition(PAGE)
    assert page.total("requests") == 49
    assert page.total("requests", lambda labels: labels["route"] == "/b") == 46
    assert page.sums("requests", "status") == {"200": 48, "404": 1}
    assert page.total("nothing") is None
    assert page.total("up", lambda labels: "x" in labels) == 0


def test_values_of_labels_are_unescaped() -> None:
    """A label holds quotes, backslashes, line feeds, braces and commas."""
    assert parse_exposition(PAGE).all("label")[0].labels == {"text": 'a"b\\c\nd, {e} 1'}


def test_no_number_is_not_finite() -> None:
    """Infinity and NaN count as 0: they are no figures, and no JSON."""
    assert parse_exposition("a NaN\nb -Inf\n").total("b") == 0
    assert parse_exposition(PAGE).total("odd") == 0


@pytest.mark.parametrize(
    "line",
    [
        "<html><body>",
        "name",
        "name x",
        "name 1_000",
        "name 0x10",
        "name{a} 1",
        'name{a="b} 1',
        'name{a="b"c="d"} 1',
        "name{} 1 2 3",
        "1name 1",
        'name{a="' + "x" * 9000 + '"} 1',
        '{"error": "no"}',
    ],
)
def test_other_text_is_refused(line: str) -> None:
    """A line that is none of the format ends the reading, with the beginning of the line."""
    with pytest.raises(OperatorError, match="holds no metrics, but the line") as refused:
        parse_exposition(f"up 1\n{line}\n")
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_an_empty_page_is_refused(text: str) -> None:
    """A page without a sample is no page of metrics."""
    with pytest.raises(OperatorError, match="holds no metrics"):
        parse_exposition(text)


def test_samples_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page with more samples than any daemon has is refused."""
    monkeypatch.setattr(exposition, "MOST_SAMPLES", 3)
    parse_exposition("a 1\n" * 3)
    with pytest.raises(OperatorError, match="more than 3 samples"):
        parse_exposition("a 1\n" * 4)
