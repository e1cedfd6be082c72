"""A small Linux for emulators in browsers, built from Debian's packages: no root, no mount, the same bytes each time."""
