"""Hostile requests, generated from a seed, and the comparison of what two daemons answer."""
