"""Tiles: run a network on overlapping parts of an image, exactly, at a known peak."""
