"""Storage: a store opens images and chunk artifacts as blobs."""
