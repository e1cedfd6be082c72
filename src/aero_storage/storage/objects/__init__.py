"""Images in an object store: the origin, to which requests go."""
