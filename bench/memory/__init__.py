"""The ruler: what peak memory a network needs, by liveness over its traced graph."""
