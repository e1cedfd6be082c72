"""The catalog of images: `manifest.json` parsed and checked, the current catalog, and changes to the file."""
