"""The competitors: one file or folder a pruning method."""
