"""The operator's command, `aero-storage`: fills and checks the images root. Without a reactor."""
