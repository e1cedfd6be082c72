"""`make bench`: measures the daemon beside nginx and others, and writes docs/benchmarks.md."""
