"""Network surgery: masks, removal of channels, importance, compactors and search of widths."""
