"""The commands of `prunebench`, by what they are about.

Nothing heavy is imported before a command runs.
"""
