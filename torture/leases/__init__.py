"""Hostile leases: mutated and forged tokens, keys that change under load, clocks that step, floods, secrets."""
