"""What images there are: the manifest, parsed and checked."""
