"""URLs in messages: without the names, passwords, queries and fragments in them, which may be credentials."""

from __future__ import annotations

import re

_URL = re.compile(r"[a-z][a-z0-9+.-]*://|https?:", re.ASCII | re.IGNORECASE)
_URL_IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.ASCII | re.IGNORECASE)
_QUERY = re.compile(r"\?\S+")
_USER = re.compile(r"//\S*@")
_START = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?[/\\]*", re.ASCII | re.IGNORECASE)
_BEFORE_QUERY = re.compile(r"[^?#]*")


def is_like_url(text: str) -> bool:
    """Return whether a text begins as a URL does, of whatever scheme; it may be a wrong one."""
    return _URL.match(text) is not None


def shown_url(url: str) -> str:
    """Return a URL, or what may be meant as one, for a message: `…` is in place of what may be a credential.

    A password may have any character in it: all that is between `//` and the last `@` is left out.
    """
    start, before = _START.match(url), _BEFORE_QUERY.match(url)
    assert start is not None  # noqa: S101 - it may be empty
    assert before is not None  # noqa: S101 - the same
    place, rest = before[0][start.end() :], url[before.end() :]
    if "@" in rest and "/" not in place:  # a `?` in the password ends the host
        return f"{start[0]}…"
    shown = f"…{place[place.rindex('@') :]}" if "@" in place else place
    return f"{start[0]}{shown}{rest[:1]}{'…' if rest[1:] else ''}"


def without_secrets(text: str) -> str:
    """Return a text with `…` for the queries and the users' names of URLs in it, which may be credentials."""
    shown = _URL_IN_TEXT.sub(lambda found: shown_url(found[0]), text)
    return _USER.sub("//…@", _QUERY.sub("?…", shown))
