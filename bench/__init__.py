"""`make bench`: measures the daemon beside nginx and others, and writes docs/measurements/benchmarks.md."""
