"""The restoration tasks, with their data, metrics and backbones."""
