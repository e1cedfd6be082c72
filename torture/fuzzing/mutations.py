"""Request heads and the ways to mutate them. Pure, given the random generator."""

from __future__ import annotations

import random
from collections.abc import Callable

from torture.fuzzing.hostile_values import (
    FIELDS,
    FOREIGN,
    HOSTS,
    METHODS,
    ODD_BYTES,
    PATHS,
    RANGES,
    SEGMENTS,
    START_METHODS,
    TARGETS,
    VERSIONS,
)

Way = Callable[[bytes, random.Random], bytes]


def valid(rng: random.Random) -> bytes:
    """A head that is well formed, whatever it says."""
    lines = [f"{rng.choice(METHODS)} {rng.choice(PATHS)} HTTP/1.1", "Host: store.test"]
    if rng.random() < 0.6:
        lines.append(f"Range: {rng.choice(RANGES)}")
    lines += rng.sample(FIELDS, rng.choice((0, 1, 1, 2)))
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def mutated(rng: random.Random) -> bytes:
    """A head to which something has been done, or nothing, or too much."""
    text = valid(rng)
    for _ in range(rng.choices((0, 1, 2, 4), (75, 17, 5, 3))[0]):
        text = rng.choice(WAYS)(text, rng)
    return text


def _flip(text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text))
    return text[:at] + bytes([text[at] ^ (1 << rng.randrange(8))]) + text[at + 1 :]


def _cut(text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text))
    return text[:at] + text[at + rng.randint(1, 40) :] or b"\r\n"


def _double(text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text))
    part = text[at : at + rng.randint(1, 80)]
    return text[:at] + part * rng.choice((2, 3, 20)) + text[at + len(part) :]


def _insert(text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(ODD_BYTES) + text[at:]


def _line(text: bytes, rng: random.Random) -> bytes:
    """Put something odd where a value is: most of these leave a head that can be parsed."""
    odd = rng.choice(ODD_BYTES).replace(b"\r\n", b"")
    return text[:-2] + b"X-Odd: " + odd + b"\r\n\r\n"


def _segment(text: bytes, rng: random.Random) -> bytes:
    """Put something odd into the target."""
    start = text.find(b" ") + 1
    at = text.find(b" ", start)
    return text[:at] + rng.choice(SEGMENTS) + text[at:] if start and at > 0 else text


def _target(text: bytes, rng: random.Random) -> bytes:
    return _word(text, 1, rng.choice(TARGETS))


def _method(text: bytes, rng: random.Random) -> bytes:
    return _word(text, 0, rng.choice(START_METHODS))


def _version(text: bytes, rng: random.Random) -> bytes:
    return _word(text, 2, rng.choice(VERSIONS))


def _word(text: bytes, which: int, word: bytes) -> bytes:
    """Put another word into the request line, if it still has three."""
    line, end, rest = text.partition(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3:
        return text
    words[which] = word
    return b" ".join(words) + end + rest


def _host(text: bytes, rng: random.Random) -> bytes:
    return text.replace(b"Host: store.test", b"Host: " + rng.choice(HOSTS), 1)


def _foreign(text: bytes, rng: random.Random) -> bytes:
    """Put something that is no request of this protocol in front."""
    return rng.choice(FOREIGN) + text


WAYS: tuple[Way, ...] = (
    _flip,
    _cut,
    _double,
    _insert,
    _line,
    _line,
    _segment,
    _segment,
    _target,
    _target,
    _host,
    _host,
    _method,
    _version,
    _foreign,
)
"""Some stand here twice: those that leave a head which can be parsed lead further into the daemon."""
