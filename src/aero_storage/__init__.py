"""aero-storage: disk images to browsers, by HTTP ranges and by immutable chunks."""
