"""aero-storage: serves disk images to browsers, by HTTP ranges and by immutable chunks."""
