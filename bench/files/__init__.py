"""Files on disk: atomic writes, JSON with checksums, hashes, tensors, locks."""
