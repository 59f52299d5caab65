"""The pruning methods that are compared: one file or folder for each."""
