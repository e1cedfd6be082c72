"""Streaming: send bytes from a blob to a transport, with backpressure."""
