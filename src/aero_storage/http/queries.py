"""Single parameters of a query, looked up without parsing the rest (http.md §1)."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes


@lru_cache(16)
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?:\A|&){re.escape(name)}(?:=([^&]*+))?(?=&|\Z)")


def first_value(query: str, name: str) -> str | None:
    """Return the value of the first parameter of that name, percent-decoded to Latin-1; None without one.

    The name is compared as it was sent, `+` is itself, and an escape that is none stays as it is. A name without `=`
    has the empty value.
    """
    match = _pattern(name).search(query)
    if match is None:
        return None
    return unquote_to_bytes(match[1] or "").decode("latin-1")
