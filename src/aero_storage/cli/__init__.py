"""The operator's command, `aero-storage`: feeds the images root. No reactor in here."""
