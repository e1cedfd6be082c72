"""The chunked format: manifest, layout, publisher, verifier (http.md §6). No Twisted in here."""
