"""Checks a running server from outside, as clients see it, and reports faults with remedies."""
