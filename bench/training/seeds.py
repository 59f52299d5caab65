"""Seeds of random streams, one for each use, so that a new use changes no other."""

from bench.files.hashing import digest


def derive_seed(seed: int, use: str) -> int:
    """Return a seed of 31 bits for one use of `seed`."""
    return int(digest([seed, use])[:8], 16) >> 1
