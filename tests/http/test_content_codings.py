"""`Accept-Encoding`, by RFC 9110 §12.5.3."""

from __future__ import annotations

import pytest

from aero_storage.http.content_codings import accepts_gzip


@pytest.mark.parametrize(
    "value",
    [
        "gzip",
        "GZIP",
        "x-gzip",
        "br, gzip",
        "gzip;q=0.001",
        "gzip ; q=1.000",
        "*",
        "br,*;q=0.5",
        "gzip;Q=0.3",
        ",gzip,",
    ],
)
def test_accepted(value: str) -> None:
    """Gzip is accepted by its name, or by the wildcard."""
    assert accepts_gzip(value)


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "identity", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "*, gzip;q=0", "identity, *;q=0"),
        *("gzipped", "gzip;q=x", "gzip;q=2", "gzip;q=0.1234", "gzip;level=9", "gz ip", "é"),
    ],
)
def test_not_accepted(value: str | None) -> None:
    """Where gzip is not accepted, has the weight 0, or is not written by the rule, the response is as it is."""
    assert not accepts_gzip(value)
