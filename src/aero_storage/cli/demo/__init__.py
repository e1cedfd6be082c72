"""A small Linux for emulators, built from Debian packages without root, for `aero-storage demo`."""
