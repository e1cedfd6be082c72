"""Verifies chunk objects against their manifest, on disk or over HTTP."""
