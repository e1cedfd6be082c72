"""Heads of requests, and what is done to them. Pure, given the dice."""

from __future__ import annotations

import random
from collections.abc import Callable

from torture.oddities import (
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


def valid(chance: random.Random) -> bytes:
    """A head that is well formed, whatever it says."""
    lines = [f"{chance.choice(METHODS)} {chance.choice(PATHS)} HTTP/1.1", "Host: store.test"]
    if chance.random() < 0.6:
        lines.append(f"Range: {chance.choice(RANGES)}")
    lines += chance.sample(FIELDS, chance.choice((0, 1, 1, 2)))
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def mutated(chance: random.Random) -> bytes:
    """A head to which something has been done, or nothing, or too much."""
    text = valid(chance)
    for _ in range(chance.choices((0, 1, 2, 4), (75, 17, 5, 3))[0]):
        text = chance.choice(WAYS)(text, chance)
    return text


def _flip(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text))
    return text[:at] + bytes([text[at] ^ (1 << chance.randrange(8))]) + text[at + 1 :]


def _cut(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text))
    return text[:at] + text[at + chance.randint(1, 40) :] or b"\r\n"


def _double(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text))
    part = text[at : at + chance.randint(1, 80)]
    return text[:at] + part * chance.choice((2, 3, 20)) + text[at + len(part) :]


def _insert(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(ODD_BYTES) + text[at:]


def _line(text: bytes, chance: random.Random) -> bytes:
    """Put something odd where a value is: most of these leave a head that can be parsed."""
    odd = chance.choice(ODD_BYTES).replace(b"\r\n", b"")
    return text[:-2] + b"X-Odd: " + odd + b"\r\n\r\n"


def _segment(text: bytes, chance: random.Random) -> bytes:
    """Put something odd into the target."""
    start = text.find(b" ") + 1
    at = text.find(b" ", start)
    return text[:at] + chance.choice(SEGMENTS) + text[at:] if start and at > 0 else text


def _target(text: bytes, chance: random.Random) -> bytes:
    return _word(text, 1, chance.choice(TARGETS))


def _method(text: bytes, chance: random.Random) -> bytes:
    return _word(text, 0, chance.choice(START_METHODS))


def _version(text: bytes, chance: random.Random) -> bytes:
    return _word(text, 2, chance.choice(VERSIONS))


def _word(text: bytes, which: int, word: bytes) -> bytes:
    """Put another word into the request line, if it still has three."""
    line, end, rest = text.partition(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3:
        return text
    words[which] = word
    return b" ".join(words) + end + rest


def _host(text: bytes, chance: random.Random) -> bytes:
    return text.replace(b"Host: store.test", b"Host: " + chance.choice(HOSTS), 1)


def _foreign(text: bytes, chance: random.Random) -> bytes:
    """Put something that is no request of this protocol in front."""
    return chance.choice(FOREIGN) + text


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
