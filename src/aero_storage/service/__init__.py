"""`twistd aero-storage`: composition root, daemon and parent process; only this room names the reactor."""
