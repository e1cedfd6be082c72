"""The samples of a page of metrics, in the Prometheus text format 0.0.4, from a server that may be hostile."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import attrs

from aero_storage.errors import OperatorError

MOST_SAMPLES = 100_000
_MOST_IN_LINE = 8192
_SHOWN = 60
_MOST = 2.0**80
"""Greatest value that counts, a trillion terabytes: sums and rates of such values are finite."""

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?[0-9]+)?[ \t]*")
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(?:,|\Z)')
_ESCAPE = re.compile(r"\\(.)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?|[+-]?Inf|NaN")

Labels = Mapping[str, str]


@attrs.frozen
class Sample:
    """One line of the page."""

    labels: Labels
    value: float


@attrs.frozen
class Exposition:
    """The samples of a page, by name."""

    _samples: Mapping[str, tuple[Sample, ...]]

    def all(self, name: str) -> tuple[Sample, ...]:
        """Return the samples of this name."""
        return self._samples.get(name, ())

    def total(self, name: str, where: Callable[[Labels], bool] = lambda _labels: True) -> float | None:
        """Return the sum of the samples of this name whose labels are wanted; None without a sample of the name."""
        samples = self.all(name)
        return sum(sample.value for sample in samples if where(sample.labels)) if samples else None

    def sums(self, name: str, label: str, where: Callable[[Labels], bool] = lambda _labels: True) -> dict[str, float]:
        """Return the sums of the samples of this name, by the value of one label."""
        found: dict[str, float] = defaultdict(float)
        for sample in self.all(name):
            if where(sample.labels):
                found[sample.labels.get(label, "")] += sample.value
        return dict(found)


def parse_exposition(text: str) -> Exposition:
    """Parse a page. Raises OperatorError with the first line that is none of the format."""
    samples: dict[str, list[Sample]] = defaultdict(list)
    number = 0
    for number, (name, sample) in enumerate(_samples(text), 1):
        if number > MOST_SAMPLES:
            raise OperatorError(f"there are more than {MOST_SAMPLES} samples in the metrics")
        samples[name].append(sample)
    if not number:
        raise OperatorError("the answer holds no metrics")
    return Exposition({name: tuple(found) for name, found in samples.items()})


def _samples(text: str) -> Iterator[tuple[str, Sample]]:
    for line in text.split("\n"):
        if line.strip() and not line.startswith("#"):
            match = _SAMPLE.fullmatch(line.rstrip("\r")) if len(line) <= _MOST_IN_LINE else None
            if match is None or _NUMBER.fullmatch(match[3]) is None:
                raise _foreign(line)
            yield match[1], Sample(_labels(match[2] or "", line), _counted(float(match[3])))


def _labels(text: str, line: str) -> Labels:
    labels: dict[str, str] = {}
    at = 0
    while text[at:].strip():
        match = _LABEL.match(text, at)
        if match is None:
            raise _foreign(line)
        labels[match[1]] = _ESCAPE.sub(_unescaped, match[2])
        at = match.end()
    return labels


def _foreign(line: str) -> OperatorError:
    return OperatorError(f"the answer holds no metrics, but the line {line[:_SHOWN]!r}")


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def _counted(value: float) -> float:
    return value if abs(value) <= _MOST else 0.0  # of NaN too
