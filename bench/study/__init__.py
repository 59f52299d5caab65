"""Studies: the grid of cells that a TOML file asks for, and the store of their records."""
