"""Training and testing a network on a task, metered, from checkpoints that survive a kill."""
