"""A small Linux for emulators in browsers, built from Debian packages, the same bytes each time."""
