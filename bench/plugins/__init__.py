"""Registries of methods, tasks and backbones, and the loading of plugins and network files."""
