"""Where bytes lie: a store hands out open blobs."""
