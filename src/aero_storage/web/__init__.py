"""HTTP connections: read requests, route them with Klein, send responses."""
