"""`twistd aero-storage`: composition root, daemon and parent process; only this package names the reactor."""
