"""The lean executor: a network rewritten so that a real run on the CPU needs what is planned for it."""
