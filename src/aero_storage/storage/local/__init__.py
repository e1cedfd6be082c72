"""A store of images and chunk objects in a directory."""
