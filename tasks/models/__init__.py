"""Backbones as plain nn.Modules."""
