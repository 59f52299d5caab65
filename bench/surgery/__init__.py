"""Changing a model: units, removal of channels, masks, importance, compactors, fitting a budget."""
