"""A study: the grid of questions in a TOML file, and the store of its records."""
