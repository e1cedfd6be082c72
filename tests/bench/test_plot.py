"""The plot of the benchmark."""

from __future__ import annotations

from bench.servers import COLOURS, KINDS, NGINX


def test_every_server_has_a_colour() -> None:
    """Whatever was measured can be drawn."""
    assert set(COLOURS) == {kind.name for kind in KINDS} - {NGINX}
