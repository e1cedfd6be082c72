"""Images and chunk objects in a directory."""
