"""HTTP rules as pure functions: without I/O, Twisted, or a clock."""
