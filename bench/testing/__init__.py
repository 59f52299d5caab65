"""The contract suite: what every method and every task promises, as small named checks, and the beginning of a new method."""
