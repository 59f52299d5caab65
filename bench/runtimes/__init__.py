"""Runtimes that execute networks on devices: what they plan, what they take, and how fast."""
