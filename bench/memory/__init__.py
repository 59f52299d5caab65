"""The memory model: the peak memory that a network needs, by liveness over its traced graph."""
