"""HTTP rules as pure functions: no I/O, no Twisted, no clock of their own."""
