"""Images in object stores: origins, and the cache of their blocks on disk."""
