"""The chunked format: manifest, layout, publisher, verifier (http.md §6). Without Twisted."""
