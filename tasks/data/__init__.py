"""Sources of photographs, and models of their degradation."""
