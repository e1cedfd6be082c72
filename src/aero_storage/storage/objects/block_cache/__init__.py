"""The block cache: bytes of objects on a local disk, shared by the workers of one daemon."""
