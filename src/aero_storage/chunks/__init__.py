"""The chunked format: manifest, layout, publisher, verifier (contract §6). Without Twisted."""
