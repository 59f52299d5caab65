"""Files that are whole or not there: atomic writes, checked JSON, checksums, tensors, locks."""
