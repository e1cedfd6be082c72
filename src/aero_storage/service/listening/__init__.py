"""Listening sockets: endpoints, inherited sockets, TLS, shortages of descriptors."""
