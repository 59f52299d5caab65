"""Where photographs come from, and how they are degraded."""
