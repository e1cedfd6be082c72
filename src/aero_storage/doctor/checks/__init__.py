"""The checks of `aero-storage doctor`, one module per subject."""
