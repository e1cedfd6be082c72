"""How bytes travel: from a blob to a transport, with backpressure."""
