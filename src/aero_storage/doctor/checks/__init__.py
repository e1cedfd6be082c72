"""The checks of `aero-storage doctor`, grouped by what they look at."""
